package leases

import (
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// signals is what the control plane must hear at once. It holds one entry per key, generation and reason, so that its size
// follows the number of keys and not the number of failures. Without a session it takes nothing: what is held against keys
// then is told in the next Hello.
type signals struct {
	mu     sync.Mutex
	taking bool // from just before the Hello is made, so that nothing falls between it and the session
	open   bool // there is a session
	what   map[signal]*told
	order  []signal      // as they came: a success must not overtake the failures before it
	wake   chan struct{} // capacity 1
}

// signal names what happened.
type signal struct {
	key        KeyID
	generation uint64
	reason     reason
	probe      bool
}

type told struct {
	count      int
	retryAfter time.Duration
	status     int
}

func (s *signals) init() { s.wake, s.what = make(chan struct{}, 1), map[signal]*told{} }

func (s *signals) add(what signal, v provider.Verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.taking {
		return
	}
	t := s.what[what]
	if t == nil {
		t = &told{}
		s.what[what] = t
		s.order = append(s.order, what)
	}
	t.count++
	t.retryAfter = max(t.retryAfter, v.RetryAfter)
	t.status = v.Status
	s.again()
}

// take answers what has gathered, in order, and empties it.
func (s *signals) take() ([]signal, map[signal]*told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	order, what := s.order, s.what
	s.order, s.what = nil, map[signal]*told{}
	return order, what
}

// again has what has gathered looked at once more.
func (s *signals) again() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// prepare starts the taking of signals for the session that is about to be opened.
func (s *signals) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking = true
}

// connect notes that there is a session.
func (s *signals) connect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking, s.open = true, true
}

// disconnect ends the taking of signals.
func (s *signals) disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taking, s.open, s.what, s.order = false, false, map[signal]*told{}, nil
}

func (s *signals) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}
