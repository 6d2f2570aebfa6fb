package pool

import "time"

// How nodes come to what they hold of limits, and how it comes back from them: when they leave, when another process takes their place,
// and when they are not heard of any more.

// arriveLocked takes what a node says that it holds at the beginning of its session: that is the truth, whatever was on its way. A
// new process of the node holds nothing; what the old one had has not rested.
func (p *Pool) arriveLocked(now time.Time, n *node, epoch uint64, list []Holding) {
	id := n.record.ID
	same := n.shareEpoch == epoch || n.shareEpoch == 0
	n.shareEpoch, n.heard, n.overdue = epoch, true, onLease
	if !same {
		p.reclaimLocked(now, id, func(*limit, uint64) uint64 { return 0 }, now)
	}
	for _, l := range p.ledger.limits {
		if s := l.shares[id]; s != nil {
			if l.budget != nil { // what it has not taken with it stays given
				l.budget.gone += s.held
			}
			*s = share{}
		}
	}
	for _, h := range list {
		l := p.ledger.limits[h.ID]
		if l == nil || h.Amount == 0 {
			continue
		}
		if l.budget != nil {
			if h.Window != l.budget.window {
				continue
			}
			l.budget.gone -= min(l.budget.gone, h.Amount)
		}
		s := l.share(id)
		s.told, s.held, s.sent = h.Amount, h.Amount, h.Amount
	}
	for _, l := range p.ledger.limits {
		p.settleLocked(now, l)
		if s := l.shares[id]; s != nil && l.budget != nil && s.told > 0 {
			n.session.grants[l.id] = struct{}{} // a record may have come without its share
		}
	}
}

// reclaimLocked takes back from a node all but what keep answers; it has not rested since that moment. Parts of budgets stay given,
// whether they are spent or not.
func (p *Pool) reclaimLocked(now time.Time, id NodeID, keep func(l *limit, held uint64) uint64, since time.Time) {
	for _, l := range p.ledger.limits {
		s := l.shares[id]
		if s == nil || s.held == 0 || l.budget != nil {
			continue
		}
		kept := min(keep(l, s.held), s.held)
		p.restLocked(l, s.held-kept, since)
		s.held, s.told = kept, min(s.told, kept)
		if kept == 0 {
			delete(l.shares, id)
		}
		p.settleLocked(now, l)
	}
}

// leaveLocked takes back everything from a node that leaves in order and says what of it has not rested.
func (p *Pool) leaveLocked(now time.Time, n *node, spent []Holding) {
	id := n.record.ID
	rests := map[LimitID]uint64{}
	for _, h := range spent {
		rests[h.ID] += h.Amount
	}
	for _, l := range p.ledger.limits {
		if s := l.shares[id]; s != nil {
			delete(l.shares, id)
			p.restLocked(l, min(rests[l.id], s.held), now)
			p.settleLocked(now, l)
		}
	}
	n.heard = true
}

// overdue is how far a node without a session is beyond its lease.
type overdue uint8

const (
	onLease   overdue = iota
	offLease          // its lease is over: it holds floors only
	offFloors         // they are not kept for it any longer
)

// absentLocked takes back what nodes without a session do not hold any more, or what is not kept for them any longer: all of it from
// one that an operator has put out.
func (p *Pool) absentLocked(now time.Time) {
	nothing := func(*limit, uint64) uint64 { return 0 }
	floors := func(l *limit, held uint64) uint64 {
		if l.hard {
			return l.floorOf(held)
		}
		return 0
	}
	for id, n := range p.nodes {
		if n.session != nil || n.leaseUntil.IsZero() || n.overdue == offFloors {
			continue
		}
		floorsUntil := n.leaseUntil.Add(p.floorsFor())
		switch {
		case !n.record.EvictTime.IsZero():
			p.reclaimLocked(now, id, nothing, now)
			n.overdue = offFloors
		case !now.Before(floorsUntil):
			p.reclaimLocked(now, id, nothing, floorsUntil)
			n.overdue = offFloors
		case n.overdue == onLease && !now.Before(n.leaseUntil):
			p.reclaimLocked(now, id, floors, n.leaseUntil)
			n.overdue = offLease
		}
	}
}

func (p *Pool) floorsFor() time.Duration { return min(p.cfg.grace(), floorHold) }
