package pool

import (
	"context"
	"time"
)

// Receipt says where a revocation has arrived.
type Receipt struct {
	Acknowledged []NodeID // no request starts there any more with what was revoked
	Pending      []NodeID // connected, but had not confirmed when the wait ended
	Unreachable  []Unreachable
}

// Unreachable is a node without a session that may still serve.
type Unreachable struct {
	Node    NodeID
	StopsBy time.Time // when its lease and grace are over at the latest
}

// Receipt waits, until ctx ends, for every connected node of a fitting region to confirm all that was told urgently before
// the call: health, commands, removals, tokens and providers.
func (p *Pool) Receipt(ctx context.Context, now time.Time, fits func(region string) bool) Receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := p.urgent
	for {
		r := p.receiptLocked(now, want, fits)
		if len(r.Pending) == 0 {
			return r
		}
		progress := p.progress
		p.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			p.mu.Lock()
			return p.receiptLocked(now, want, fits)
		}
		p.mu.Lock()
	}
}

func (p *Pool) receiptLocked(now time.Time, want uint64, fits func(region string) bool) Receipt {
	var r Receipt
	for _, id := range sortedKeys(p.nodes) {
		n := p.nodes[id]
		switch {
		case !fits(n.record.Region):
		case n.session != nil && n.session.confirmedLocked(want):
			r.Acknowledged = append(r.Acknowledged, id)
		case n.session != nil:
			r.Pending = append(r.Pending, id)
		case p.stopsByLocked(n).After(now):
			r.Unreachable = append(r.Unreachable, Unreachable{Node: id, StopsBy: p.stopsByLocked(n)})
		}
	}
	return r
}

// confirmedLocked says whether the node has confirmed everything urgent up to this count: because it said so, or because
// nothing urgent is on its way to it. Before the full sync is confirmed it has not: the node goes on with copies of its
// former session, and what changed while it was away comes with the sync only.
func (s *Session) confirmedLocked(want uint64) bool {
	return s.synced && (s.confirmed >= want || (s.toldLocked() && len(s.marks) == 0))
}

// stopsByLocked answers when a node without a session has stopped at the latest; zero: it never had a lease, or it left.
func (p *Pool) stopsByLocked(n *node) time.Time {
	if n.leaseUntil.IsZero() || !n.record.LeaveTime.IsZero() {
		return time.Time{}
	}
	return n.leaseUntil.Add(p.cfg.grace())
}
