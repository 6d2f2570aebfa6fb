package pool

import (
	"context"
	"slices"
	"time"
)

// Holding is what a node has of one limit.
type Holding struct {
	ID     LimitID
	Amount uint64
	Window uint64
}

// Grant is a node's share of one limit.
type Grant struct {
	ID     LimitID
	Amount uint64
	Floor  uint64
	Window uint64
}

// GrantUpdate tells a node its shares.
type GrantUpdate struct {
	Seq    uint64
	Grants []Grant
}

const grantsPerChunk = 1000 // about 30 KiB

// hasGrantsLocked says whether there are shares that can be told now.
func (s *Session) hasGrantsLocked() bool {
	for id := range s.grants {
		if l := s.pool.ledger.limits[id]; l == nil || l.safe() {
			return true
		}
	}
	return false
}

// grantsLocked tells shares. Those of budgets wait until the disk knows of them.
func (s *Session) grantsLocked() *GrantUpdate {
	s.grantSeq++
	u := &GrantUpdate{Seq: s.grantSeq}
	told := grantMark{seq: s.grantSeq}
	for id := range s.grants {
		if len(u.Grants) == grantsPerChunk {
			break
		}
		l := s.pool.ledger.limits[id]
		if l != nil && !l.safe() {
			continue
		}
		delete(s.grants, id)
		if l == nil {
			continue
		}
		sh := l.share(s.node.record.ID)
		if sh.told > sh.sent {
			s.grewSeq = s.grantSeq
		}
		sh.fresh, sh.seq, sh.sent = false, s.grantSeq, sh.told
		g := Grant{ID: id, Amount: sh.told, Floor: l.floorOf(sh.told)}
		if l.budget != nil {
			g.Window = l.budget.window
		}
		u.Grants = append(u.Grants, g)
		told.ids = append(told.ids, id)
	}
	s.grantMarks = append(s.grantMarks, told)
	s.pool.progressLocked()
	return u
}

// grantMark says which limits an update told of.
type grantMark struct {
	seq uint64
	ids []LimitID
}

// Holds takes which update of shares a node has applied, and what it still has of those that shrank. What it does not name is as
// the update says.
func (s *Session) Holds(now time.Time, applied uint64, list []Holding) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s || applied > s.grantSeq {
		return
	}
	s.grantAck = max(s.grantAck, applied)
	touched := map[LimitID]struct{}{}
	take := func(id LimitID, seq uint64, amount func(*share) uint64) {
		l := p.ledger.limits[id]
		if l == nil || l.shares[s.node.record.ID] == nil {
			return
		}
		sh := l.shares[s.node.record.ID]
		if sh.fresh || seq < sh.seq { // it does not know yet what it was told
			return
		}
		touched[id] = struct{}{}
		sh.held = max(sh.told, amount(sh))
	}
	for _, h := range list {
		l := p.ledger.limits[h.ID]
		if l != nil && (l.budget == nil || l.budget.window == h.Window) {
			take(h.ID, applied, func(*share) uint64 { return h.Amount })
			touched[h.ID] = struct{}{}
		}
	}
	for len(s.grantMarks) > 0 && s.grantMarks[0].seq <= applied {
		for _, id := range s.grantMarks[0].ids {
			if _, named := touched[id]; !named {
				take(id, s.grantMarks[0].seq, func(sh *share) uint64 { return sh.told })
			}
		}
		s.grantMarks = s.grantMarks[1:]
	}
	for id := range touched {
		p.settleLocked(now, p.ledger.limits[id])
	}
	p.progressLocked()
}

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

// tickCapacityLocked lets time pass in the ledger.
func (p *Pool) tickCapacityLocked(now time.Time) {
	p.turnLocked(now)
	p.learnLocked(now)
	p.absentLocked(now)
	for id := range p.ledger.resting {
		l := p.ledger.limits[id]
		if len(l.resting) == 0 {
			delete(p.ledger.resting, id)
		} else if !now.Before(l.resting[0].until) {
			p.settleLocked(now, l)
		}
	}
	p.followLocked(now)
}

// SessionOf answers the session of this process of the node; nil: there is none.
func (p *Pool) SessionOf(id NodeID, epoch uint64) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[id]; n != nil && n.session != nil && n.session.epoch == epoch {
		return n.session
	}
	return nil
}

// Violations answers how many invariants were found broken since the start; there is no way for it to be more than 0.
func (p *Pool) Violations() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.violations
}

// Ask is what a request needs that its node's shares do not hold.
type Ask struct {
	Token    TokenID    // of this token
	Provider ProviderID // or any key of this provider
	Tokens   uint64     // it is thought to take so many
}

// Acquire gives the node more of what it asks for, if there is any to be had now, and answers the update that tells of it once it
// is sent. Otherwise, when nothing more may come or ctx ends, it answers 0 and when asking again may help; 0: not known.
func (s *Session) Acquire(ctx context.Context, now time.Time, a Ask) (grantSeq uint64, retryAfter time.Duration) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s {
		return 0, 0
	}
	before := s.grewSeq
	limits := s.askLocked(now, a)
	for {
		switch {
		case s.grewSeq > before:
			return s.grewSeq, 0
		case s.node.session != s || !p.mayGrowLocked(s, limits):
			return 0, p.retryLocked(limits)
		}
		progress := p.progress
		p.mu.Unlock()
		select {
		case <-progress:
		case <-ctx.Done():
			p.mu.Lock()
			return 0, p.retryLocked(limits)
		}
		p.mu.Lock()
	}
}

const limitsPerAsk = 8 // of a provider's, that a request's want of a key is put down for

// askLocked puts the ask down and answers the limits that it is about.
func (s *Session) askLocked(now time.Time, a Ask) []LimitID {
	p, id := s.pool, s.node.record.ID
	d := p.ledger.demands[demandID{provider: a.Provider, token: a.Token}]
	if d == nil {
		return nil
	}
	d.rates[id] = max(d.rates[id], 1)
	if d.apply() {
		d.settled = now
		p.settleAllLocked(now, d)
	}
	all := make([]LimitID, 0, len(d.limits))
	for l := range d.limits {
		all = append(all, l)
	}
	slices.SortFunc(all, compareLimits)
	if a.Token == 0 && len(all) > limitsPerAsk { // some now, others the next time
		from := int(d.next % uint64(len(all)))
		d.next += limitsPerAsk
		all = append(all[from:], all[:from]...)[:limitsPerAsk]
	}
	for _, lid := range all {
		l := p.ledger.limits[lid]
		l.share(id).asked = now
		if l.budget != nil {
			need := uint64(1)
			if lid.Dimension.ofTokens() {
				need = max(a.Tokens, 1)
			}
			l.budget.asking[id] = max(l.budget.asking[id], need)
		}
		p.settleLocked(now, l)
	}
	return all
}

// mayGrowLocked says whether more of any of these may come to the node soon: it is decided and waits to be saved or sent, or
// others have been asked to give back.
func (p *Pool) mayGrowLocked(s *Session, limits []LimitID) bool {
	for _, lid := range limits {
		l := p.ledger.limits[lid]
		if l == nil {
			continue
		}
		if sh := l.shares[s.node.record.ID]; sh != nil && sh.told > sh.sent {
			return true
		}
		if l.budget != nil && l.budget.asking[s.node.record.ID] > 0 {
			return true
		}
		for other, sh := range l.shares {
			n := p.nodes[other]
			if l.budget == nil && other != s.node.record.ID && n.session != nil && sh.told < sh.held && (sh.fresh || sh.seq > n.session.grantAck) {
				return true
			}
		}
	}
	return false
}

// retryLocked answers when asking again may help.
func (p *Pool) retryLocked(limits []LimitID) time.Duration {
	for _, lid := range limits {
		if l := p.ledger.limits[lid]; l != nil && l.budget != nil && l.given() >= l.most {
			return time.Minute
		}
	}
	return time.Second
}

func compareLimits(a, b LimitID) int {
	switch {
	case a.ID != b.ID && a.ID < b.ID, a.ID == b.ID && a.Dimension < b.Dimension:
		return -1
	case a == b:
		return 0
	default:
		return 1
	}
}
