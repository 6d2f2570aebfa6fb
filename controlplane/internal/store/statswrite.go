package store

import (
	"bytes"
	"fmt"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"ollama-api-pool/controlplane/internal/stats"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// CommitTick implements stats.Store: one transaction, one sync.
func (s *Stats) CommitTick(t stats.Tick) error {
	return s.write(func(tx *bbolt.Tx) error {
		if len(t.Rows) > 0 {
			if err := appendTick(tx, t); err != nil {
				return err
			}
		}
		cursors := tx.Bucket([]byte(statsCursors))
		for _, c := range t.Cursors {
			r := &storev1.CursorRecord{LastSeq: c.Seq, CommitTime: stamp(c.CommitTime)}
			if err := putRecord(cursors, cursorKey(c), r); err != nil {
				return err
			}
		}
		health := tx.Bucket([]byte(statsHealth))
		for _, h := range t.Health {
			if err := putRecord(health, number(uint64(h.Key)), healthRecord(h)); err != nil {
				return err
			}
		}
		for _, id := range t.DropHealth {
			if err := health.Delete(number(uint64(id))); err != nil {
				return err
			}
		}
		if err := writeBudgets(tx.Bucket([]byte(statsBudgets)), t.Budgets); err != nil {
			return err
		}
		return writeEvents(tx.Bucket([]byte(statsEvents)), t)
	})
}

// appendTick refuses a number that is not beyond all others, because the tick that has it would be lost.
func appendTick(tx *bbolt.Tx, t stats.Tick) error {
	log := tx.Bucket([]byte(statsTickLog))
	log.FillPercent = 0.95 // nothing is ever put between
	if last := lastTick(tx); t.Seq <= last {
		return fmt.Errorf("tick %d comes after tick %d", t.Seq, last)
	}
	return putRecord(log, number(t.Seq), tickRecord(t.Rows))
}

func lastTick(tx *bbolt.Tx) uint64 {
	folded := parseNumber(tx.Bucket([]byte(statsMeta)).Get([]byte(statsFolded)))
	last, _ := tx.Bucket([]byte(statsTickLog)).Cursor().Last()
	return max(folded, parseNumber(last))
}

// Checkpoint implements stats.Store.
func (s *Stats) Checkpoint(c stats.Chunk) error {
	return s.write(func(tx *bbolt.Tx) error {
		totals := tx.Bucket([]byte(statsTotals))
		for _, r := range c.Put {
			if err := putRecord(totals, []byte(r.Key), totalRecord(r, c.AsOf)); err != nil {
				return err
			}
		}
		for _, key := range c.Drop {
			if err := totals.Delete([]byte(key)); err != nil {
				return err
			}
		}
		cursors := tx.Bucket([]byte(statsCursors))
		for _, cur := range c.DropCursors {
			if err := cursors.Delete(cursorKey(cur)); err != nil {
				return err
			}
		}
		if !c.Folds {
			return nil
		}
		return fold(tx, c.Fold)
	})
}

// fold deletes the log up to a tick.
func fold(tx *bbolt.Tx, upTo uint64) error {
	log := tx.Bucket([]byte(statsTickLog))
	for _, key := range keysBetween(log, nil, number(upTo+1), -1) {
		if err := log.Delete(key); err != nil {
			return err
		}
	}
	return tx.Bucket([]byte(statsMeta)).Put([]byte(statsFolded), number(upTo))
}

// DropRange implements stats.Store. Without such rows nothing is written.
func (s *Stats) DropRange(from, to stats.RowKey, limit int) (int, error) {
	var keys [][]byte
	err := s.db.View(func(tx *bbolt.Tx) error {
		keys = keysBetween(tx.Bucket([]byte(statsTotals)), []byte(from), []byte(to), limit)
		return nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	err = s.write(func(tx *bbolt.Tx) error {
		totals := tx.Bucket([]byte(statsTotals))
		for _, key := range keys {
			if err := totals.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	return len(keys), err
}

// keysBetween copies the keys from one on, before another; a negative limit is none. Deleting is for afterwards, since it
// would make the cursor skip.
func keysBetween(b *bbolt.Bucket, from, to []byte, limit int) [][]byte {
	var keys [][]byte
	c := b.Cursor()
	for k, _ := c.Seek(from); k != nil && bytes.Compare(k, to) < 0 && len(keys) != limit; k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	return keys
}

func putRecord(b *bbolt.Bucket, key []byte, m proto.Message) error {
	value, err := encode(m)
	if err != nil {
		return err
	}
	return b.Put(key, value)
}
