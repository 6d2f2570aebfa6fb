package store

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/stats"
)

// statsSchema rises when an older release could no longer read the file.
const statsSchema = 1

// The buckets of stats.db. Numbers are 8 bytes, big-endian; a value is the format byte and a record. The names of rows are
// explained at stats.RowKey.
const (
	statsMeta    = "meta"    // name → number, see below
	statsCursors = "cursors" // node ‖ 0 ‖ epoch → CursorRecord
	statsTickLog = "ticklog" // number of the tick → TickRecord
	statsTotals  = "totals"  // row → TotalRecord
	statsHealth  = "health"  // key id → HealthRecord
	statsBudgets = "budgets" // kind ‖ id ‖ dimension → BudgetRecord
	statsEvents  = "events"  // key id ‖ number → EventRecord, of each key the last hundred
)

// The names in bucket meta; the schema's is metaSchema, as in config.db.
const statsFolded = "folded" // last tick that went from the log, because the totals have it

func statsBuckets() []string {
	return []string{statsMeta, statsCursors, statsTickLog, statsTotals, statsHealth}
}

// laterStatsBuckets came with later releases. An older one does without them, so they do not raise the schema; OpenStats
// makes those that are missing.
func laterStatsBuckets() []string { return []string{statsEvents, statsBudgets} }

// Stats keeps counters, the cursors of the nodes that reported them, and the health of keys. It has a file of its own, so
// that its commits never stand in front of a change of the configuration. Only one goroutine may use it at a time, but for
// KeyEvents.
type Stats struct {
	db     *bbolt.DB
	commit func(*bbolt.Tx) error // as bbolt does it; tests let it fail
	failed error                 // why nothing may be written any more
}

var _ stats.Store = (*Stats)(nil)

// CreateStats makes an empty file. It never replaces one.
func CreateStats(path string) error {
	return createBolt(path, func(tx *bbolt.Tx) error {
		for _, name := range append(statsBuckets(), laterStatsBuckets()...) {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(statsMeta))
		return errors.Join(
			meta.Put([]byte(metaSchema), number(statsSchema)),
			meta.Put([]byte(statsFolded), number(0)))
	})
}

// OpenStats opens and locks the file that CreateStats made.
func OpenStats(path string) (*Stats, error) {
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	if err := db.View(checkStats); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	s := &Stats{db: db, commit: (*bbolt.Tx).Commit}
	if err := s.addLaterBuckets(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *Stats) addLaterBuckets() error {
	missing := false
	if err := s.db.View(func(tx *bbolt.Tx) error {
		for _, name := range laterStatsBuckets() {
			missing = missing || tx.Bucket([]byte(name)) == nil
		}
		return nil
	}); err != nil || !missing {
		return err
	}
	return s.write(func(tx *bbolt.Tx) error {
		for _, name := range laterStatsBuckets() {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkStats goes by the frame only: rows are looked at when they are loaded.
func checkStats(tx *bbolt.Tx) error {
	for _, name := range statsBuckets() {
		if tx.Bucket([]byte(name)) == nil {
			return damaged("bucket %s is missing", name)
		}
	}
	meta := tx.Bucket([]byte(statsMeta))
	switch schema := parseNumber(meta.Get([]byte(metaSchema))); {
	case schema > statsSchema:
		return ErrNewerSchema
	case schema == 0:
		return damaged("the schema is not named")
	}
	if len(meta.Get([]byte(statsFolded))) != 8 {
		return damaged("what is folded is not named")
	}
	return nil
}

// Close closes the file.
func (s *Stats) Close() error { return s.db.Close() }

// write runs fn in one transaction. After a failed commit nothing more is written, because what is on disk is unknown; but
// for a full disk, if the commit did not come as far as the page that makes it valid.
func (s *Stats) write(fn func(*bbolt.Tx) error) error {
	if s.failed != nil {
		return s.failed
	}
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	id := tx.ID()
	err = s.commit(tx)
	switch {
	case err == nil:
		return nil
	case isNoSpace(err) && s.lastCommit() < id:
		return fmt.Errorf("%w: %w", stats.ErrNoSpace, err)
	default:
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return s.failed
	}
}

func (s *Stats) lastCommit() (id int) {
	if err := s.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		return int(^uint(0) >> 1)
	}
	return id
}
