package leases

import (
	"context"
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// asker asks the control plane for capacity now, for requests that find none in this node's shares. However many requests want
// the same, it is asked for once at a time; and what was not to be had is not asked for again for a moment. Without a session
// it asks nobody.
type asker struct {
	shares *capacity.Table

	mu      sync.Mutex
	client  leasev1.LeaseServiceClient // nil: there is no session
	epoch   uint64
	flights map[want]*flight
	refused map[want]time.Duration // until when it is not asked for again
}

// want is what is asked for: a token's limits, or any key of a provider.
type want struct {
	name     capacity.Name
	provider string
}

type flight struct {
	done chan struct{} // closed when answered
	got  bool          // written before that
}

const (
	refusedFor  = 100 * time.Millisecond // if the control plane does not say
	longRefusal = time.Second
	maxRefused  = 10_000
)

func (a *asker) connect(c leasev1.LeaseServiceClient, epoch uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.client, a.epoch = c, epoch
	a.flights, a.refused = map[want]*flight{}, map[want]time.Duration{}
}

func (a *asker) disconnect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.client = nil
}

// ask waits for the answer for at most AskWait, and says whether there is capacity now.
func (a *asker) ask(ctx context.Context, now func() time.Duration, w want, tokens uint64) bool {
	f := a.start(now, w, tokens)
	if f == nil {
		return false
	}
	late := time.NewTimer(AskWait)
	defer late.Stop()
	select {
	case <-f.done:
		return f.got
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// start asks, unless that is under way, and does not wait; nil: it is not asked for.
func (a *asker) start(now func() time.Duration, w want, tokens uint64) *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil || a.refused[w] > now() {
		return nil
	}
	if f := a.flights[w]; f != nil {
		return f
	}
	f, client, epoch := &flight{done: make(chan struct{})}, a.client, a.epoch
	a.flights[w] = f
	go func() { // ends within AskWait
		ctx, cancel := context.WithTimeout(context.Background(), AskWait)
		defer cancel()
		resp, err := client.AcquirePermit(ctx, request(w, epoch, tokens))
		if err == nil && resp.GetGrantSeq() > 0 {
			f.got = a.shares.Applied(ctx, resp.GetGrantSeq())
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.flights[w] == f {
			delete(a.flights, w)
		}
		if !f.got {
			a.refuseLocked(w, now(), resp.GetRetryAfter().AsDuration())
		}
		close(f.done)
	}()
	return f
}

func (a *asker) refuseLocked(w want, now, wait time.Duration) {
	if wait <= 0 {
		wait = refusedFor
	}
	if len(a.refused) >= maxRefused {
		clear(a.refused)
	}
	a.refused[w] = now + min(wait, longRefusal)
}

func request(w want, epoch, tokens uint64) *leasev1.AcquirePermitRequest {
	req := &leasev1.AcquirePermitRequest{NodeEpoch: epoch, Tokens: tokens, Kind: leasev1.Kind(w.name.Kind), Id: w.name.ID}
	if w.provider != "" {
		req.Kind, req.ProviderId = leasev1.Kind_KIND_PROVIDER, w.provider
	}
	return req
}
