package store

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/seal"
)

// Open locks the database, checks it, and begins a new term. It answers ErrMissing, ErrLocked, ErrNewerSchema,
// ErrWrongKEK, ErrDamaged or an error of package seal about the KEK file, and has then changed no file.
// After a crash it reads everything before it answers.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	db, err := openBolt(o.config())
	if err != nil {
		return nil, err
	}
	s, err := open(o, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func open(o Options, db *bbolt.DB) (*Store, error) {
	s := &Store{db: db, now: o.Now, log: o.Logger, keepChanges: keepChanges, commit: (*bbolt.Tx).Commit}
	var anchored bool
	if err := db.View(func(b *bbolt.Tx) (err error) {
		anchored, err = s.load(o, b)
		return err
	}); err != nil {
		return nil, fmt.Errorf("%s: %w", o.config(), err)
	}
	if !anchored {
		o.Logger.Warn("the anchor file was missing and is written again", "path", o.anchor())
		if err := (life{s.clusterID, s.lineage}).writeAnchor(o.anchor()); err != nil {
			return nil, err
		}
	}
	if err := s.beginTerm(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// load reads what the store must know at once, and checks the rest if the last process did not close the file.
func (s *Store) load(o Options, b *bbolt.Tx) (anchored bool, err error) {
	if err := checkSchema(b); err != nil {
		return false, err
	}
	meta := b.Bucket([]byte(bucketMeta))
	lineage := meta.Get([]byte(metaLineage))
	s.clusterID = string(meta.Get([]byte(metaClusterID)))
	if s.clusterID == "" || len(lineage) != len(s.lineage) {
		return false, damaged("the cluster id or lineage is missing")
	}
	copy(s.lineage[:], lineage)
	if branch := meta.Get([]byte(metaBranch)); branch != nil {
		if len(branch) != len(s.lineage) {
			return false, damaged("the lineage since a restore is no lineage")
		}
		s.branch.Store(new([16]byte(branch)))
	}
	s.term = parseNumber(meta.Get([]byte(metaTerm)))
	s.revision.Store(parseNumber(meta.Get([]byte(metaRevision))))

	if anchored, err = (life{s.clusterID, s.lineage}).checkAnchor(o.anchor()); err != nil {
		return anchored, err
	}
	kek, err := seal.LoadKEK(o.KEKFile)
	if err != nil {
		return anchored, err
	}
	if s.keys, err = seal.OpenKeyset(kek, meta.Get([]byte(metaKeyset))); err != nil {
		return anchored, keysetError(err)
	}
	if meta.Get([]byte(metaClosed)) != nil {
		return anchored, nil
	}
	o.Logger.Warn("the database was not closed in order; checking all of it", "path", o.config())
	return anchored, s.checkAll(b)
}

func checkSchema(b *bbolt.Tx) error {
	meta := b.Bucket([]byte(bucketMeta))
	if meta == nil {
		return damaged("it is not a configuration database")
	}
	switch v := parseNumber(meta.Get([]byte(metaSchema))); {
	case v > schemaVersion:
		return fmt.Errorf("%w (schema %d, this release knows %d)", ErrNewerSchema, v, schemaVersion)
	case v < schemaVersion:
		return damaged("its schema version is missing")
	}
	for _, name := range firstBuckets() {
		if b.Bucket([]byte(name)) == nil {
			return damaged("bucket %s is missing", name)
		}
	}
	return nil
}

func keysetError(err error) error {
	if errors.Is(err, seal.ErrDamaged) {
		return damaged("the keyset does not open: %w", err)
	}
	return err
}

// beginTerm is the first write: from here on a crash is noticed.
func (s *Store) beginTerm() error {
	s.term++
	return s.db.Update(func(b *bbolt.Tx) error {
		for _, name := range laterBuckets() {
			if _, err := b.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		meta := b.Bucket([]byte(bucketMeta))
		return errors.Join(
			meta.Put([]byte(metaTerm), number(s.term)),
			meta.Delete([]byte(metaClosed)))
	})
}

func (s *Store) stop() error {
	close(s.closing)
	<-s.done
	if s.Err() != nil {
		return s.db.Close() // not marked as closed: the next Open checks it
	}
	err := s.db.Update(func(b *bbolt.Tx) error {
		return b.Bucket([]byte(bucketMeta)).Put([]byte(metaClosed), []byte{1})
	})
	return errors.Join(err, s.db.Close())
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrDamaged, fmt.Errorf(format, args...))
}
