package store

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
)

// Tx is a transaction. Inside Update its writes are staged and its reads see them; bbolt gets them only if the function
// returns nil. Values that it answers are copies. It is good only until the function given to Update or View returns, and
// in that function's goroutine only.
type Tx struct {
	store    *Store
	bolt     *bbolt.Tx
	staged   map[string]bucketStage // nil inside View
	changes  []pool.Change
	revision uint64
}

// bucketStage holds a bucket's staged writes. A nil value is a staged delete.
type bucketStage map[string][]byte

func newTx(s *Store, b *bbolt.Tx, revision uint64) *Tx {
	return &Tx{store: s, bolt: b, staged: map[string]bucketStage{}, revision: revision}
}

// writable must come first in each method that writes; after it, staging cannot fail.
func (tx *Tx) writable() error {
	if tx.staged == nil {
		return ErrReadOnly
	}
	return nil
}

func (tx *Tx) stage(bucket, key string, value []byte) {
	stage := tx.staged[bucket]
	if stage == nil {
		stage = bucketStage{}
		tx.staged[bucket] = stage
	}
	stage[key] = value
}

// get answers nil for what is not there. The bytes are bbolt's own: nobody may change or keep them.
func (tx *Tx) get(bucket, key string) []byte {
	if value, ok := tx.staged[bucket][key]; ok {
		return value
	}
	return tx.bolt.Bucket([]byte(bucket)).Get([]byte(key))
}

// scan ranges over a bucket in order of keys. It does not see records that are staged while it goes on, but neither does
// it see those that are deleted.
func (tx *Tx) scan(bucket string) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		fresh := tx.fresh(bucket)
		cursor := tx.bolt.Bucket([]byte(bucket)).Cursor()
		for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
			for len(fresh) > 0 && fresh[0] < string(k) {
				if !tx.yield(bucket, fresh[0], nil, yield) {
					return
				}
				fresh = fresh[1:]
			}
			if !tx.yield(bucket, string(k), v, yield) {
				return
			}
		}
		for _, k := range fresh {
			if !tx.yield(bucket, k, nil, yield) {
				return
			}
		}
	}
}

// fresh answers the keys that are staged but not in bbolt.
func (tx *Tx) fresh(bucket string) []string {
	b := tx.bolt.Bucket([]byte(bucket))
	keys := sortedKeys(tx.staged[bucket])
	return slices.DeleteFunc(keys, func(k string) bool { return b.Get([]byte(k)) != nil })
}

// yield passes on what is staged under the key, or else value.
func (tx *Tx) yield(bucket, key string, value []byte, yield func(string, []byte) bool) bool {
	if staged, ok := tx.staged[bucket][key]; ok {
		value = staged
	}
	return value == nil || yield(key, value)
}

// apply hands what is staged to bbolt. Values are never empty, so a nil one is a delete.
func (tx *Tx) apply() error {
	for _, bucket := range sortedKeys(tx.staged) {
		b := tx.bolt.Bucket([]byte(bucket))
		for _, key := range sortedKeys(tx.staged[bucket]) {
			if err := put(b, []byte(key), tx.staged[bucket][key]); err != nil {
				return fmt.Errorf("%s: %w", bucket, err)
			}
		}
	}
	return nil
}

func put(b *bbolt.Bucket, key, value []byte) error {
	if value == nil {
		return b.Delete(key)
	}
	return b.Put(key, value)
}

// createTime answers t, or now if it is zero.
func (tx *Tx) createTime(t time.Time) time.Time {
	if t.IsZero() {
		return tx.store.now()
	}
	return t
}
