package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/seal"
)

// Initialised says whether there is a database in the directory: false if the directory is absent or holds nothing of
// ours, ErrTraces if it holds something of ours but no database, or an empty file in its place. Whether the database is
// sound is for Open to find out.
func Initialised(o Options) (bool, error) {
	info, err := os.Stat(o.config())
	if err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	found, err := traces(o)
	if err != nil {
		return false, err
	}
	if len(found) > 0 {
		return false, fmt.Errorf("%s: %w (found %s)", o.Dir, ErrTraces, strings.Join(found, ", "))
	}
	return false, nil
}

// traces names what in the directory tells of an earlier life. Other files are not ours to judge: a fresh volume may
// hold lost+found, and operators may put a credential there before the first start.
func traces(o Options) ([]string, error) {
	entries, err := os.ReadDir(o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if isTrace(o, e.Name()) {
			found = append(found, e.Name())
		}
	}
	return found, nil
}

func isTrace(o Options, name string) bool {
	switch name {
	case kekFile:
		return filepath.Clean(o.KEKFile) != filepath.Join(o.Dir, kekFile) // one that the operator has named is no trace
	case anchorFile:
		return true
	default:
		return strings.HasSuffix(name, ".db") || strings.HasSuffix(name, ".db.tmp")
	}
}

// Init makes the directory, the KEK unless the named one is there, and a database with the providers that everyone has.
// It answers ErrTraces where Initialised would, and ErrExists over a database. When it fails, it takes back what it made;
// if it is killed, the traces it leaves make the next start stop and ask.
func Init(o Options) error {
	switch there, err := Initialised(o); {
	case err != nil:
		return err
	case there:
		return fmt.Errorf("%s: %w", o.config(), ErrExists)
	}
	named := o.KEKFile != ""
	o = o.withDefaults()
	if err := makeDir(o.Dir); err != nil {
		return err
	}
	l := newLife()
	if err := l.writeAnchor(o.anchor()); err != nil { // first, because only one of two Inits can make it
		return err
	}
	kek, made, err := initKEK(o.KEKFile, named)
	if err == nil {
		err = createConfig(o, l, kek)
	}
	if err != nil {
		return errors.Join(err, undo(o, made))
	}
	return nil
}

func createConfig(o Options, l life, kek seal.KEK) error {
	wrapped, keys, err := seal.NewKeyset(kek)
	if err != nil {
		return err
	}
	return createBolt(o.config(), func(b *bbolt.Tx) error {
		s := &Store{keys: keys, clusterID: l.clusterID, now: o.Now, keepChanges: keepChanges}
		return fillConfig(s, b, l, wrapped)
	})
}

// undo takes back what Init made, unless a database depends on it already.
func undo(o Options, madeKEK bool) error {
	if _, err := os.Lstat(o.config()); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := os.Remove(o.anchor())
	if madeKEK {
		err = errors.Join(err, os.Remove(o.KEKFile))
	}
	return err
}

func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func initKEK(path string, named bool) (kek seal.KEK, made bool, err error) {
	kek, err = seal.LoadKEK(path)
	if named && !errors.Is(err, seal.ErrMissingKEK) {
		return kek, false, err
	}
	if err := seal.NewKEK(path); err != nil {
		return seal.KEK{}, false, err
	}
	kek, err = seal.LoadKEK(path)
	return kek, true, err
}

func fillConfig(s *Store, b *bbolt.Tx, l life, wrapped []byte) error {
	for _, name := range append(firstBuckets(), laterBuckets()...) {
		if _, err := b.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	tx := newTx(s, b, 0)
	tx.stage(bucketMeta, metaSchema, number(schemaVersion))
	tx.stage(bucketMeta, metaClusterID, []byte(l.clusterID))
	tx.stage(bucketMeta, metaLineage, l.lineage[:])
	tx.stage(bucketMeta, metaTerm, number(0))
	tx.stage(bucketMeta, metaKeyset, wrapped)
	tx.stage(bucketMeta, metaCreatedAt, number(uint64(s.now().Unix())))
	for _, p := range pool.BuiltinProviders() {
		if _, err := tx.PutProvider(p); err != nil {
			return err
		}
	}
	tx.stage(bucketMeta, metaClosed, []byte{1})
	tx.stage(bucketMeta, metaRevision, number(tx.revision))
	return tx.apply()
}

func newLife() life {
	l := life{clusterID: rand.Text()}
	rand.Read(l.lineage[:]) // never fails: see crypto/rand
	return l
}
