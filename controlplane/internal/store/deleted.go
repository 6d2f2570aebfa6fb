package store

import (
	"iter"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// KeepDeleted is for how long a deleted key can be restored. Its secret stays sealed meanwhile, and no node has it.
const KeepDeleted = 24 * time.Hour

// RestoreKey brings a deleted key back under its id, with a new generation: what was held against it is void. It answers
// ErrNotFound if there is none or its time is over, and ErrExists if the same key was added again since.
func (tx *Tx) RestoreKey(id pool.KeyID) (pool.Key, error) {
	if err := tx.writable(); err != nil {
		return pool.Key{}, err
	}
	r, err := tx.deletedRecord(id)
	if err != nil {
		return pool.Key{}, err
	}
	if !tx.store.now().Before(r.GetDeleteTime().AsTime().Add(KeepDeleted)) {
		return pool.Key{}, ErrNotFound
	}
	k, err := tx.openKey(r)
	if err != nil {
		return pool.Key{}, err
	}
	k.Generation++
	k.Cut = k.Cut && k.Disabled
	k, err = tx.PutKey(k)
	if err == nil {
		tx.stage(bucketDeletedKeys, string(number(uint64(id))), nil)
	}
	return k, err
}

// ForgetDeleted erases the records whose time is over and answers how many there were.
func (tx *Tx) ForgetDeleted() (int, error) {
	if err := tx.writable(); err != nil {
		return 0, err
	}
	forgotten := 0
	for r, err := range tx.deletedKeys() {
		if err != nil {
			return 0, err
		}
		if !tx.store.now().Before(r.GetDeleteTime().AsTime().Add(KeepDeleted)) {
			tx.stage(bucketDeletedKeys, string(number(r.GetId())), nil)
			forgotten++
		}
	}
	return forgotten, nil
}

// stageDeleted keeps a key's record, with its secret as it was sealed.
func (tx *Tx) stageDeleted(id pool.KeyID, cut bool) error {
	r, err := tx.keyRecord(id)
	if err != nil {
		return err
	}
	r.DeleteTime, r.Cut = stamp(tx.store.now()), cut
	b, err := encode(r)
	if err != nil {
		return err
	}
	tx.stage(bucketDeletedKeys, string(number(uint64(id))), b)
	return nil
}

// CutKeys ranges over the deleted keys that requests under way were to end with, as the changes that removed them.
func (tx *Tx) CutKeys() iter.Seq2[pool.Change, error] {
	return func(yield func(pool.Change, error) bool) {
		for r, err := range tx.deletedKeys() {
			if err == nil && !r.GetCut() {
				continue
			}
			if !yield(pool.Change{RemovedKey: pool.KeyID(r.GetId()), CutTime: unstamp(r.GetDeleteTime())}, err) {
				return
			}
		}
	}
}

func (tx *Tx) deletedRecord(id pool.KeyID) (*storev1.KeyRecord, error) {
	b := tx.get(bucketDeletedKeys, string(number(uint64(id))))
	if b == nil {
		return nil, ErrNotFound
	}
	return decodeKey(id, b)
}

func (tx *Tx) deletedKeys() iter.Seq2[*storev1.KeyRecord, error] {
	return records(tx, bucketDeletedKeys, func(key string, value []byte) (*storev1.KeyRecord, error) {
		return decodeKey(pool.KeyID(parseNumber([]byte(key))), value)
	})
}
