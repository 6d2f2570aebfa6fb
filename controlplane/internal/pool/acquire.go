package pool

import (
	"context"
	"slices"
	"time"
)

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
		case s.node.session != s, !p.mayGrowLocked(s, limits), !p.waitLocked(ctx):
			return 0, p.retryLocked(limits)
		}
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
