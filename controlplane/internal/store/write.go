package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
)

const (
	maxGroup  = 512
	gatherFor = 2 * time.Millisecond
)

// call is one Update on its way through the writer. The writer gives each call of a group its turn; the function then runs
// in its caller's goroutine, so that a panic, or the end of a failed test, strikes the caller and not the writer.
type call struct {
	turn  chan *Tx    // holds one
	ran   chan error  // holds one; what became of the function
	reply chan result // holds one
}

type result struct {
	revision uint64
	err      error
}

// Update runs fn, one Update at a time, and answers after its changes are on disk: the revision of the last change that fn
// then knew. If fn fails, nothing of it is kept and its error is answered. fn must not call Update or View, and must keep
// neither tx nor what ranges over it.
//
// A ctx that ends keeps fn from being run; once fn was run, Update waits for the result, because the change happens.
// ErrNoSpace and ErrClosed tell that nothing was changed, ErrFailed that it cannot be known.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) (revision uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	c := &call{turn: make(chan *Tx, 1), ran: make(chan error, 1), reply: make(chan result, 1)}
	select {
	case s.queue <- c:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-s.closing:
		return 0, ErrClosed
	}
	if tx := <-c.turn; tx != nil {
		c.run(ctx, tx, fn)
	}
	r := <-c.reply
	return r.revision, r.err
}

// run runs fn, or says why not. If fn does not return, the writer is told too.
func (c *call) run(ctx context.Context, tx *Tx, fn func(tx *Tx) error) {
	err := errUnfinished
	defer func() { c.ran <- err }()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
		return
	}
	err = fn(tx)
}

// write is the writer goroutine.
func (s *Store) write() {
	defer close(s.done)
	expect := 1
	for {
		select {
		case c := <-s.queue:
			group := s.gather(c, expect)
			s.commitGroup(group)
			expect = len(group)
		case <-s.closing:
			return
		}
	}
}

// gather takes what waits already. It waits for more only after a larger group: the callers of that one, having been
// answered, are about to call again, and without a wait the first of them would have a commit to itself. So a lone caller
// never waits, and of many none waits for more than one commit and 2 ms.
func (s *Store) gather(first *call, expect int) []*call {
	group := []*call{first}
	var late <-chan time.Time
	for len(group) < maxGroup {
		select {
		case c := <-s.queue:
			group = append(group, c)
			continue
		default:
		}
		if len(group) >= expect {
			break
		}
		if late == nil {
			late = time.After(gatherFor)
		}
		select {
		case c := <-s.queue:
			group = append(group, c)
		case <-late:
			return group
		case <-s.closing:
			return group
		}
	}
	return group
}

// commitGroup runs and commits a group, then answers each of its calls. Even a function that failed is answered after the
// commit, since it may have failed over a neighbour's change.
func (s *Store) commitGroup(group []*call) {
	results := make([]result, len(group))
	err := s.tryGroup(group, results)
	for i, c := range group {
		close(c.turn) // for those that had none
		if err != nil {
			results[i] = result{err: err}
		}
		c.reply <- results[i]
	}
}

func (s *Store) tryGroup(group []*call, results []result) error {
	if err := s.Err(); err != nil {
		return err
	}
	b, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	var changes []pool.Change
	revision, dirty := s.revision.Load(), false
	for i, c := range group {
		tx := newTx(s, b, revision)
		c.turn <- tx
		if results[i].err = <-c.ran; results[i].err != nil {
			continue
		}
		if err := tx.apply(); err != nil {
			return errors.Join(err, b.Rollback())
		}
		dirty = dirty || len(tx.staged) > 0
		revision, changes = tx.revision, append(changes, tx.changes...)
		results[i].revision = revision
	}
	if !dirty {
		return b.Rollback()
	}
	if err := putRevision(b, revision); err != nil {
		return errors.Join(err, b.Rollback())
	}
	if err := s.sync(b); err != nil {
		return err
	}
	s.revision.Store(revision)
	if s.onCommit != nil && len(changes) > 0 {
		s.onCommit(changes)
	}
	return nil
}

func putRevision(b *bbolt.Tx, revision uint64) error {
	return b.Bucket([]byte(bucketMeta)).Put([]byte(metaRevision), number(revision))
}

// sync commits. A full disk is the one failure after which the store goes on, and only if the commit did not come as far
// as the page that makes it valid: bbolt has then written to free pages alone. After any other it is unknown what a later
// sync would make of the pages that this one lost, so none is tried.
func (s *Store) sync(b *bbolt.Tx) error {
	id := b.ID()
	err := s.commit(b)
	if err == nil {
		return nil
	}
	if isNoSpace(err) && s.lastCommit() < id {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	s.failure = fmt.Errorf("%w: %w", ErrFailed, err)
	s.log.Error("commit failed", "error", err)
	close(s.failed)
	return s.failure
}

func (s *Store) lastCommit() int {
	b, err := s.db.Begin(false)
	if err != nil {
		return math.MaxInt
	}
	defer func() { _ = b.Rollback() }()
	return b.ID()
}

// isNoSpace goes by the text too, because bbolt wraps some errors as text only.
func isNoSpace(err error) bool {
	for _, full := range [...]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, full) || strings.Contains(err.Error(), full.Error()) {
			return true
		}
	}
	return false
}
