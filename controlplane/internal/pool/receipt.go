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
	StopsBy time.Time // when it has stopped at the latest: its lease and grace are over, or what was revoked is too stale for it
}

// promise is what nodes do by themselves with certain keys when they hear nothing.
type promise struct {
	within time.Duration // they use none of them for longer than this without a word; 0: as long as lease and grace
	since  uint64        // a node that has confirmed this revision knows that
}

// Receipt waits, until ctx ends, for every connected node of a fitting region to confirm all that was told urgently before
// the call: health, commands, removals, tokens and providers.
func (p *Pool) Receipt(ctx context.Context, now time.Time, fits func(region string) bool) Receipt {
	return p.KeysReceipt(ctx, now, fits, nil)
}

// KeysReceipt is Receipt for these keys alone, which were just disabled or removed: a node that is out of reach may have to
// stop using them before its lease and grace are over.
func (p *Pool) KeysReceipt(ctx context.Context, now time.Time, fits func(region string) bool, keys []Key) Receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	want, will := p.urgent, p.promiseLocked(keys)
	for {
		r := p.receiptLocked(now, want, fits, will)
		if len(r.Pending) == 0 || !p.waitLocked(ctx) {
			return r
		}
	}
}

// waitLocked waits for something to have been confirmed; false: ctx has ended before. The lock is free meanwhile.
func (p *Pool) waitLocked(ctx context.Context) bool {
	progress := p.progress
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-progress:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Pool) receiptLocked(now time.Time, want uint64, fits func(region string) bool, will promise) Receipt {
	var r Receipt
	for _, id := range sortedKeys(p.nodes) {
		n := p.nodes[id]
		switch {
		case !fits(n.record.Region):
		case n.session != nil && n.session.confirmedLocked(want):
			r.Acknowledged = append(r.Acknowledged, id)
		case n.session != nil:
			r.Pending = append(r.Pending, id)
		default:
			if by := p.keptUntilLocked(n, will); by.After(now) {
				r.Unreachable = append(r.Unreachable, Unreachable{Node: id, StopsBy: by})
			}
		}
	}
	return r
}

// EvictReceipt waits, until ctx ends, for a node that has been evicted to confirm that it holds nothing any more. A node that
// could not confirm it, because it was out of reach, is named with the time when it will have stopped by itself.
func (p *Pool) EvictReceipt(ctx context.Context, now time.Time, id NodeID) Receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	if n == nil {
		return Receipt{}
	}
	for n.session != nil && p.waitLocked(ctx) {
	}
	switch by := p.stopsByLocked(n); {
	case n.session != nil:
		return Receipt{Pending: []NodeID{id}}
	case n.wiped:
		return Receipt{Acknowledged: []NodeID{id}}
	case by.After(now):
		return Receipt{Unreachable: []Unreachable{{Node: id, StopsBy: by}}}
	default:
		return Receipt{}
	}
}

// confirmedLocked says whether the node has confirmed everything urgent up to this count: because it said so, or because
// nothing urgent is on its way to it. Before the full sync is confirmed it has not: the node goes on with copies of its
// former session, and what changed while it was away comes with the sync only.
func (s *Session) confirmedLocked(want uint64) bool {
	return s.synced && (s.confirmed >= want || (s.toldLocked() && len(s.marks) == 0))
}

// stopsByLocked answers when a node without a session has stopped at the latest; zero: it never had a lease, it left, or it was
// evicted and has confirmed that.
func (p *Pool) stopsByLocked(n *node) time.Time {
	if n.leaseUntil.IsZero() || n.wiped || !n.record.LeaveTime.IsZero() {
		return time.Time{}
	}
	return n.leaseUntil.Add(p.cfg.grace())
}

// keptUntilLocked is stopsByLocked for the keys of this promise alone. Nodes count from when they sent what was answered last,
// which is earlier than what is known here.
func (p *Pool) keptUntilLocked(n *node, will promise) time.Time {
	by := p.stopsByLocked(n)
	if by.IsZero() || will.within == 0 || n.knows < will.since {
		return by
	}
	if stale := n.leaseUntil.Add(will.within - p.cfg.leaseTTL()); stale.Before(by) {
		return stale
	}
	return by
}

// promiseLocked answers what nodes do with all of these keys when they hear nothing. Of a key that is gone it is not known any
// more since when it had its MaxStale: its last change is late enough.
func (p *Pool) promiseLocked(keys []Key) promise {
	var will promise
	for _, key := range keys {
		if key.MaxStale == 0 {
			return promise{}
		}
		since := key.Revision
		if k := p.keys[key.ID]; k != nil {
			since = k.staleAt
		}
		will.within, will.since = max(will.within, key.MaxStale), max(will.since, since)
	}
	return will
}

// noteStaleLocked notes which revision a node must know to keep to the key's MaxStale.
func (k *keyState) noteStaleLocked(before Key) {
	if before.ID == 0 || before.MaxStale != k.key.MaxStale {
		k.staleAt = k.key.Revision
	}
}
