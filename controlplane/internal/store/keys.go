package store

import (
	"iter"
	"slices"
	"time"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// Key answers a key with its secret opened, or ErrNotFound.
func (tx *Tx) Key(id pool.KeyID) (pool.Key, error) {
	r, err := tx.keyRecord(id)
	if err != nil {
		return pool.Key{}, err
	}
	return tx.openKey(r)
}

// KeyBySecret finds a key without opening any.
func (tx *Tx) KeyBySecret(secret pool.Secret) (pool.KeyID, bool) {
	fp := tx.store.keys.Fingerprint(secret.Reveal())
	b := tx.get(bucketKeysByFP, string(fp[:]))
	return pool.KeyID(parseNumber(b)), b != nil
}

// Keys ranges over all keys in order of ids, secrets opened. After an error it ends.
func (tx *Tx) Keys() iter.Seq2[pool.Key, error] {
	return records(tx, bucketKeys, func(key string, value []byte) (pool.Key, error) {
		r, err := decodeKey(pool.KeyID(parseNumber([]byte(key))), value)
		if err != nil {
			return pool.Key{}, err
		}
		return tx.openKey(r)
	})
}

// CountKeys answers how many keys a provider has, from a counter that is kept with them.
func (tx *Tx) CountKeys(provider pool.ProviderID) int {
	return int(parseNumber(tx.get(bucketKeyCounts, string(provider))))
}

// PutKey adds or replaces a key and answers it as stored: with the next revision, and where the fields were zero with a
// new id, the time, and generation 1. It answers ErrExists if another key has the secret, and ErrOtherProvider.
func (tx *Tx) PutKey(k pool.Key) (pool.Key, error) {
	if err := tx.writable(); err != nil {
		return pool.Key{}, err
	}
	if k.Secret.IsZero() {
		return pool.Key{}, errNoSecret
	}
	if !isName(string(k.Provider)) {
		return pool.Key{}, errNoName
	}
	if k.ID == 0 {
		k.ID = tx.newKeyID()
	}
	old, err := tx.oldKey(k.ID)
	if err != nil {
		return pool.Key{}, err
	}
	if old != nil && old.Provider != k.Provider {
		return pool.Key{}, ErrOtherProvider
	}
	if other, ok := tx.KeyBySecret(k.Secret); ok && other != k.ID {
		return pool.Key{}, ErrExists
	}
	k.Revision, k.Generation, k.CreateTime = tx.next(), max(k.Generation, 1), tx.createTime(k.CreateTime)
	sealed, err := tx.seal(k.Secret, sealedKey, k.ID.String(), string(k.Provider))
	if err != nil {
		return pool.Key{}, err
	}
	r := keyRecord(k, sealed)
	b, err := encode(r)
	if err != nil {
		return pool.Key{}, err
	}

	if old == nil {
		tx.countKey(k.Provider, +1)
	} else {
		tx.stageFingerprint(old.Secret, nil)
	}
	tx.stageFingerprint(k.Secret, number(uint64(k.ID)))
	tx.stage(bucketKeys, string(number(uint64(k.ID))), b)
	stored := keyOf(r, k.Secret)
	tx.log(pool.Change{Revision: k.Revision, Key: &stored}, kindKey, opPut, string(number(uint64(k.ID))))
	return stored, nil
}

// DeleteKey removes a key, or answers ErrNotFound. With cut, or if its disable says so, requests that are under way with it end.
// For KeepDeleted its record is kept apart: see RestoreKey.
func (tx *Tx) DeleteKey(id pool.KeyID, cut bool) error {
	if err := tx.writable(); err != nil {
		return err
	}
	old, err := tx.Key(id)
	if err != nil {
		return err
	}
	c := pool.Change{Revision: tx.next(), RemovedKey: id}
	if now := tx.store.now(); cut || old.CutAt(now) {
		c.CutTime = now
	}
	if err := tx.stageDeleted(id, !c.CutTime.IsZero()); err != nil {
		return err
	}
	tx.countKey(old.Provider, -1)
	tx.stageFingerprint(old.Secret, nil)
	tx.stage(bucketKeys, string(number(uint64(id))), nil)
	tx.log(c, kindKey, opDelete, string(number(uint64(id))))
	return nil
}

func (tx *Tx) newKeyID() pool.KeyID {
	for {
		id := pool.NewKeyID()
		key := string(number(uint64(id)))
		if tx.get(bucketKeys, key) == nil && tx.get(bucketDeletedKeys, key) == nil {
			return id
		}
	}
}

// oldKey answers nil if there is none.
func (tx *Tx) oldKey(id pool.KeyID) (*pool.Key, error) {
	k, err := tx.Key(id)
	switch {
	case err == nil:
		return &k, nil
	case isNotFound(err):
		return nil, nil
	default:
		return nil, err
	}
}

func (tx *Tx) stageFingerprint(secret pool.Secret, value []byte) {
	fp := tx.store.keys.Fingerprint(secret.Reveal())
	tx.stage(bucketKeysByFP, string(fp[:]), value)
}

func (tx *Tx) countKey(provider pool.ProviderID, by int) {
	n := tx.CountKeys(provider) + by
	if n == 0 {
		tx.stage(bucketKeyCounts, string(provider), nil)
		return
	}
	tx.stage(bucketKeyCounts, string(provider), number(uint64(n)))
}

func (tx *Tx) keyRecord(id pool.KeyID) (*storev1.KeyRecord, error) {
	b := tx.get(bucketKeys, string(number(uint64(id))))
	if b == nil {
		return nil, ErrNotFound
	}
	return decodeKey(id, b)
}

func decodeKey(id pool.KeyID, b []byte) (*storev1.KeyRecord, error) {
	r := &storev1.KeyRecord{}
	if err := decode(b, r, "key "+id.String()); err != nil {
		return nil, err
	}
	if r.GetId() != uint64(id) {
		return nil, damaged("key %s is in another's place", id)
	}
	return r, nil
}

func (tx *Tx) openKey(r *storev1.KeyRecord) (pool.Key, error) {
	secret, err := tx.open(r.GetSealedSecret(), sealedKey, pool.KeyID(r.GetId()).String(), r.GetProvider())
	if err != nil {
		return pool.Key{}, err
	}
	return keyOf(r, secret), nil
}

func keyRecord(k pool.Key, sealed []byte) *storev1.KeyRecord {
	return &storev1.KeyRecord{
		Id: uint64(k.ID), Revision: k.Revision, Generation: k.Generation,
		Provider: string(k.Provider), SealedSecret: sealed, Display: k.Display, Label: k.Label,
		Models: k.Models, Weight: small(k.Weight), Priority: small(k.Priority), Regions: k.Regions,
		CreateTime: stamp(k.CreateTime), ExpireTime: stamp(k.ExpireTime),
		Disabled: k.Disabled, DisabledUntil: stamp(k.DisabledUntil), Cut: k.Cut, Note: k.Note, Category: k.Category,
		Group: k.Group, Limits: limitsRecord(k.Limits), MaxStaleMs: uint64(k.MaxStale.Milliseconds()),
	}
}

func keyOf(r *storev1.KeyRecord, secret pool.Secret) pool.Key {
	return pool.Key{
		ID: pool.KeyID(r.GetId()), Revision: r.GetRevision(), Generation: r.GetGeneration(),
		Provider: pool.ProviderID(r.GetProvider()), Secret: secret, Display: r.GetDisplay(), Label: r.GetLabel(),
		Models: slices.Clone(r.GetModels()), Weight: int(r.GetWeight()), Priority: int(r.GetPriority()),
		Regions:    slices.Clone(r.GetRegions()),
		CreateTime: unstamp(r.GetCreateTime()), ExpireTime: unstamp(r.GetExpireTime()),
		Disabled: r.GetDisabled(), DisabledUntil: unstamp(r.GetDisabledUntil()), Cut: r.GetCut(),
		Note: r.GetNote(), Category: r.GetCategory(),
		Group: r.GetGroup(), Limits: limitsOf(r.GetLimits()), MaxStale: time.Duration(r.GetMaxStaleMs()) * time.Millisecond,
	}
}
