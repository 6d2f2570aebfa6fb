package leases

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// errMoved ends a session whose successor is open.
var errMoved = errors.New("the session goes on at another control plane")

// moveTimeout is how long a control plane may take to accept the next session. Nothing that the old one says is applied
// meanwhile, not even a revocation, so it is short; what is said waits and is not lost.
const moveTimeout = 3 * time.Second

// toMove notes that the control plane is about to stop. What it says until then still counts.
func (s *session) toMove(d *leasev1.Drain) {
	within := d.GetReconnectWithin().AsDuration()
	s.link.spread = within
	s.link.log.Info("the control plane is about to stop", "reason", d.GetReason(), "move_within", within.String())
	select {
	case s.move <- within:
	default: // told already
	}
}

// moveOn opens the next session when this one is about to end, and only then lets this one go: whoever listens at the address
// by then may be another process. Until there is one the control plane that stops refuses, and the session here goes on; when
// that has ended, Run goes on trying.
func (l *Link) moveOn(parent, ctx context.Context, s *session) error {
	var wait time.Duration
	select {
	case wait = <-s.move:
	case <-ctx.Done():
		return ctx.Err()
	}
	for wait = max(wait, firstBackoff); ; wait = min(wait*2, maxBackoff) {
		select {
		case <-time.After(time.Duration(rand.Int64N(int64(wait)))): //nolint:gosec // spreads load
		case <-ctx.Done():
			return ctx.Err()
		}
		switch err := s.moveNow(parent); {
		case errors.Is(err, errMoved), errors.Is(err, ErrFenced), errors.Is(err, ErrEvicted):
			return err
		case err != nil:
			l.log.Info("no other control plane has taken over yet", "error", l.explain(err))
		}
	}
}

// moveNow tries to open the next session. From the making of its Hello on nothing that comes here is applied, unless there will
// be none: what this node holds is then as the Hello says.
func (s *session) moveNow(ctx context.Context) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.opening.Store(true)
	next, err := s.link.open(ctx, moveTimeout)
	if err != nil {
		s.opening.Store(false)
		s.link.book.signals.again()
		return stopped(err)
	}
	s.link.next, s.moved = next, true
	return errMoved
}

// next answers the next message. The lock is free while it waits for one.
func (s *session) next() (*leasev1.SessionResponse, error) {
	s.moving.Unlock()
	m, err := s.stream.Recv()
	s.moving.Lock()
	if s.moved {
		return nil, errMoved
	}
	return m, err
}
