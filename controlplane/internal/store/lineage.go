package store

import (
	"context"
	"crypto/rand"
)

// Lineage changes when it is noticed that a backup was restored: revisions and terms of one lineage say nothing about another.
func (s *Store) Lineage() [16]byte {
	if l := s.branch.Load(); l != nil {
		return *l
	}
	return s.lineage
}

// BeginLineage begins another lineage, because somebody has heard of a later life of this one: what is on disk is a backup of
// it. The new name is on disk before anybody hears of it. The anchor keeps the first one, by which the database is known.
func (s *Store) BeginLineage(ctx context.Context) error {
	var l [16]byte
	rand.Read(l[:]) // never fails: see crypto/rand
	if _, err := s.Update(ctx, func(tx *Tx) error {
		if err := tx.writable(); err != nil {
			return err
		}
		tx.stage(bucketMeta, metaBranch, l[:])
		return nil
	}); err != nil {
		return err
	}
	s.branch.Store(&l)
	return nil
}
