package store

import (
	"errors"

	"go.etcd.io/bbolt"
)

// FailCommits has commits fail as a disk would that took nothing of them: those for which fail, told their number from 1,
// answers an error. Nil: none any more. It must not be called while an Update runs.
func (s *Store) FailCommits(fail func(n int) error) {
	if fail == nil {
		s.commit = (*bbolt.Tx).Commit
		return
	}
	n := 0
	s.commit = func(b *bbolt.Tx) error {
		n++
		if err := fail(n); err != nil {
			return errors.Join(err, b.Rollback())
		}
		return b.Commit()
	}
}
