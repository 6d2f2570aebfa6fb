package pool

import "time"

// lastUseLocked answers until when nodes of an earlier life of this control plane may have used anything, those apart that may go
// on: when the last one left, if all have, else the start.
func (p *Pool) lastUseLocked() time.Time {
	var last time.Time
	for _, n := range p.nodes {
		switch {
		case n.record.Epoch == 0:
		case n.record.LeaveTime.IsZero() || n.record.LeaveTime.After(p.cfg.Start):
			return p.cfg.Start
		case n.record.LeaveTime.After(last):
			last = n.record.LeaveTime
		}
	}
	return last
}

// learnLocked looks whether all nodes of an earlier life of this control plane have been heard, or hold nothing any more: from
// then on what nobody holds is free. Until then only what nodes say they hold moves between them.
func (p *Pool) learnLocked(now time.Time) {
	if p.ledger.learnt.slots && p.ledger.learnt.soft && p.ledger.learnt.hard {
		return
	}
	lease := p.cfg.Start
	for _, n := range p.nodes {
		if !n.heard && n.record.Epoch > 0 && n.record.LeaveTime.IsZero() && n.record.EvictTime.IsZero() {
			lease = p.cfg.Start.Add(p.cfg.leaseTTL())
		}
	}
	rested, hard := p.ledger.used, p.ledger.used
	if lease != p.cfg.Start {
		rested, hard = lease, lease.Add(p.floorsFor())
	}
	done := &p.ledger.learnt
	was := *done
	done.slots = done.slots || !now.Before(lease)
	done.soft = done.soft || !now.Before(rested.Add(restFor))
	done.hard = done.hard || !now.Before(hard.Add(restFor))
	if *done == was {
		return
	}
	for _, l := range p.ledger.limits {
		over := done.soft
		switch {
		case l.id.Dimension == DimensionConcurrency:
			over = done.slots
		case l.hard:
			over = done.hard
		}
		if l.learning && over {
			l.learning = false
			p.settleLocked(now, l)
		}
	}
}
