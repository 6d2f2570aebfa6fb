package store

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
)

// openAt answers a new store for whom it is now.
func openAt(t *testing.T, now *time.Time) (Options, *Store) {
	o := initConfig(t)
	o.Now = func() time.Time { return *now }
	return o, openConfig(t, o)
}

func TestADeletedKeyCanBeRestoredForADay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o, s := openAt(t, &now)
	key := aKey(1)
	key.Category, key.Note = "qwen", "of the day"
	var id pool.KeyID
	update(t, s, func(tx *Tx) (err error) {
		key, err = tx.PutKey(key)
		id = key.ID
		return errors.Join(err, tx.DeleteKey(id, false))
	})
	s = reopen(t, o, s)
	now = now.Add(KeepDeleted - time.Second)
	update(t, s, func(tx *Tx) error {
		forgotten, err := tx.ForgetDeleted()
		same(t, "forgotten before its time", forgotten, 0)
		return err
	})
	update(t, s, func(tx *Tx) error {
		back, err := tx.RestoreKey(id)
		want := plainKey(key)
		want.key.Generation, want.key.Revision = 2, back.Revision
		same(t, "restored", plainKey(back), want)
		same(t, "count", tx.CountKeys("ollama"), 1)
		return err
	})
	for _, when := range []string{"restored twice", "after a restart"} {
		if _, err := s.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.RestoreKey(id)
			return err
		}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", when, err)
		}
		s = reopen(t, o, s)
	}
}

// What is under way with a deleted key ends if the deletion says so, or the disable that was in force; a later start knows which.
func TestADeletionRemembersWhatItCutsOff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o, s := openAt(t, &now)
	told := map[pool.KeyID]time.Time{}
	s.OnCommit(func(changes []pool.Change) {
		for _, c := range changes {
			if c.RemovedKey != 0 {
				told[c.RemovedKey] = c.CutTime
			}
		}
	})
	keys := []pool.Key{ // the ids are given below
		aKey(1).Disable(time.Time{}, ""),
		aKey(2).DisableAndCut(time.Time{}, ""),
		aKey(3).DisableAndCut(now, "over already"),
		aKey(4),
		aKey(5),
	}
	update(t, s, func(tx *Tx) (err error) {
		for n := range keys {
			if keys[n], err = tx.PutKey(keys[n]); err != nil {
				return err
			}
			if err = tx.DeleteKey(keys[n].ID, n >= 3); err != nil {
				return err
			}
		}
		return nil
	})
	want := map[pool.KeyID]time.Time{keys[0].ID: {}, keys[1].ID: now, keys[2].ID: {}, keys[3].ID: now, keys[4].ID: now}
	same(t, "told", told, want)

	s = reopen(t, o, s)
	update(t, s, func(tx *Tx) error {
		back, err := tx.RestoreKey(keys[4].ID)
		same(t, "restored in use", back.Cut, false)
		return err
	})
	update(t, s, func(tx *Tx) error {
		back, err := tx.RestoreKey(keys[1].ID)
		same(t, "restored as disabled", back.CutAt(now), true)
		return err
	})
	cut := map[pool.KeyID]time.Time{}
	update(t, s, func(tx *Tx) error {
		for c, err := range tx.CutKeys() {
			if err != nil {
				return err
			}
			cut[c.RemovedKey] = c.CutTime
		}
		return nil
	})
	same(t, "known after a restart", cut, map[pool.KeyID]time.Time{keys[3].ID: now})
}

func TestADeletedKeyIsForgottenAfterADay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	o, s := openAt(t, &now)
	var old, young, again pool.Key
	update(t, s, func(tx *Tx) (err error) {
		if old, err = tx.PutKey(aKey(1)); err != nil {
			return err
		}
		return tx.DeleteKey(old.ID, false)
	})
	now = now.Add(time.Hour)
	update(t, s, func(tx *Tx) (err error) {
		if young, err = tx.PutKey(aKey(2)); err != nil {
			return err
		}
		if err = tx.DeleteKey(young.ID, false); err != nil {
			return err
		}
		again, err = tx.PutKey(aKey(2)) // the same key, added again under another id
		return err
	})
	now = now.Add(KeepDeleted - time.Hour)
	restore := func(id pool.KeyID) error {
		_, err := s.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.RestoreKey(id)
			return err
		})
		return err
	}
	if err := restore(old.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("too late: %v", err)
	}
	if err := restore(young.ID); !errors.Is(err, ErrExists) {
		t.Errorf("added again since: %v", err)
	}
	update(t, s, func(tx *Tx) error {
		forgotten, err := tx.ForgetDeleted()
		same(t, "forgotten", forgotten, 1)
		return err
	})
	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error {
		same(t, "kept", tx.size(bucketDeletedKeys), 1)
		_, err := tx.Key(again.ID)
		return err
	})
}

// A file of a release that did not know of deleted keys is opened, after a crash too, and can do all that a new one can.
func TestAFileWithoutDeletedKeysIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	for _, crashed := range []bool{false, true} {
		o := usedConfig(t, crashed)
		edit(t, o, func(b *bbolt.Tx) error { return b.DeleteBucket([]byte(bucketDeletedKeys)) })
		s := openConfig(t, o)
		var k pool.Key
		update(t, s, func(tx *Tx) (err error) {
			if k, err = tx.PutKey(aKey(9077)); err != nil {
				return err
			}
			return tx.DeleteKey(k.ID, false)
		})
		s = reopen(t, o, s)
		update(t, s, func(tx *Tx) error {
			_, err := tx.RestoreKey(k.ID)
			return err
		})
	}
}

func TestADamagedDeletedKeyIsFoundAfterACrash(t *testing.T) {
	t.Parallel()
	o := usedConfig(t, true)
	edit(t, o, func(b *bbolt.Tx) error {
		return b.Bucket([]byte(bucketDeletedKeys)).Put(number(7), []byte{recordFormat, 0xff})
	})
	refused(t, o, ErrDamaged, "key k_")
}
