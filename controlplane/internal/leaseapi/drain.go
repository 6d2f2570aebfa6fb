package leaseapi

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// drain is how this control plane goes: first every node is told, so that it can open a session elsewhere before it closes the
// one here; those that cannot are kept in touch until the end. Nobody new is let in meanwhile.
type drain struct {
	begun chan struct{} // closed by Drain
	over  chan struct{} // closed by Stop

	mu       sync.Mutex
	sessions int
	left     chan struct{} // closed and replaced whenever a session ends
}

func newDrain() drain {
	return drain{begun: make(chan struct{}), over: make(chan struct{}), left: make(chan struct{})}
}

var (
	errDraining = status.Error(codes.Unavailable, "the control plane is about to stop and takes no new sessions")
	errStopping = status.Error(codes.Unavailable, "the control plane is stopping")
)

// Drain tells every node that this control plane is about to stop. From now on new sessions are refused; those that there are
// go on, with leases renewed and everything told, until Stop.
func (a *API) Drain() { close(a.drain.begun) }

// AwaitMoves waits until the nodes have had the time to go elsewhere, no longer than ctx lasts and not at all when no session
// is left.
func (a *API) AwaitMoves(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, a.cfg.spread()+a.cfg.spread()/2)
	defer cancel()
	for {
		a.drain.mu.Lock()
		n, left := a.drain.sessions, a.drain.left
		a.drain.mu.Unlock()
		if n == 0 {
			return
		}
		select {
		case <-left:
		case <-ctx.Done():
			return
		}
	}
}

// Stop ends the sessions that are left.
func (a *API) Stop() { close(a.drain.over) }

// enter counts a session in, unless nobody is let in any more; leave must follow.
func (d *drain) enter() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.begun:
		return errDraining
	default:
		d.sessions++
		return nil
	}
}

func (d *drain) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions--
	close(d.left)
	d.left = make(chan struct{})
}

// notice is what nodes are told of a drain.
func (a *API) notice() *leasev1.SessionResponse {
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Drain{Drain: &leasev1.Drain{
		ReconnectWithin: durationpb.New(max(a.cfg.spread(), time.Millisecond)), Reason: "the control plane is stopping",
	}}}
}
