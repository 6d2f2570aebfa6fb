package store

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/seal"
)

// keepChanges is how many of the newest changes are remembered.
const keepChanges = 1_000_000

// Store is the open configuration. Its methods may be called from any goroutine.
type Store struct {
	db        *bbolt.DB
	keys      *seal.Keyset
	clusterID string
	lineage   [16]byte
	branch    atomic.Pointer[[16]byte] // the lineage since a restore was noticed; nil: lineage
	term      uint64
	now       func() time.Time
	log       *slog.Logger

	keepChanges uint64
	commit      func(*bbolt.Tx) error // (*bbolt.Tx).Commit, but for tests of a failing disk
	onCommit    func([]pool.Change)   // set before the first Update

	revision atomic.Uint64 // of the last commit; set by the writer only

	queue   chan *call    // unbuffered: what the writer has taken, it answers
	closing chan struct{} // closed by Close
	done    chan struct{} // closed by the writer at its end
	close   func() error  // once

	failed  chan struct{} // closed by the writer after it has set failure
	failure error
}

// ClusterID is the name that sealed values are bound to. It survives a restore.
func (s *Store) ClusterID() string { return s.clusterID }

// Term rises with every Open, so that what an earlier process said can be told from what this one says.
func (s *Store) Term() uint64 { return s.term }

// Revision is that of the last committed change.
func (s *Store) Revision() uint64 { return s.revision.Load() }

// OnCommit has fn told every group of committed changes, in order of revision. It must be set before the first Update.
// The writer calls it after the commit and before any Update of the group returns, so fn must be quick, and must not
// call Update.
func (s *Store) OnCommit(fn func([]pool.Change)) { s.onCommit = fn }

// Failed is closed when the disk failed during a commit. What was said in Update about ErrFailed then holds; the process
// must exit.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err answers why Failed is closed, nil while it is not.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.failure
	default:
		return nil
	}
}

// View runs fn over the last commit. It keeps old pages from being used again, so fn must be quick, must not wait for
// anything, and must not call Update.
func (s *Store) View(fn func(tx *Tx) error) error {
	b, err := s.db.Begin(false)
	if err != nil {
		return ErrClosed
	}
	defer func() { _ = b.Rollback() }() // a view's end cannot fail
	return fn(&Tx{store: s, bolt: b})
}

// Close waits for the writer, marks the file as closed in order, and lets go of it. Calls of Update that the writer has
// not taken answer ErrClosed. It waits for open Views too.
func (s *Store) Close() error { return s.close() }

func (s *Store) start() {
	s.queue, s.closing, s.done = make(chan *call), make(chan struct{}), make(chan struct{})
	s.failed = make(chan struct{})
	s.close = sync.OnceValue(s.stop)
	go s.write()
}
