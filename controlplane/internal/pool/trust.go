package pool

import "time"

// A node whose way to the upstream is broken reports good keys as rejected. The fleet believes it once or twice, because it may be
// right, and a probe by another node tells; only a few keys are out on its word at a time. When too many of its reports were
// refuted, what it says affects itself alone, which it sees to itself. From time to time one of its reports is looked into all the
// same; when one is confirmed, it is believed again. Only what another node has found counts, for and against it.

const (
	liesAllowed = 3 // refuted reports in lieSpan
	lieSpan     = time.Minute
	lookEvery   = 30 * time.Second // into a report of a node that is not believed

	maxAccused = 5      // keys that one node's reports may have out of use at a time, before anybody has looked
	maxClaims  = 10_000 // reports beyond those that wait for it
)

// claim is a key that a node has reported as rejected while too many others were being looked into on its word.
type claim struct {
	key        KeyID
	generation uint64
}

func (n *node) claim(k *keyState) {
	if n.claims == nil {
		n.claims = map[claim]struct{}{}
	}
	if len(n.claims) < maxClaims {
		n.claims[claim{k.key.ID, k.key.Generation}] = struct{}{}
	}
}

func (n *node) accuses(id KeyID) {
	if n.accused == nil {
		n.accused = map[KeyID]struct{}{}
	}
	n.accused[id] = struct{}{}
}

// accusedLocked counts the keys that are out on the node's word alone.
func (p *Pool) accusedLocked(n *node) int {
	for id := range n.accused {
		if k := p.keys[id]; k == nil || k.health.Phase != Suspect || k.accuser != n.record.ID {
			delete(n.accused, id)
		}
	}
	return len(n.accused)
}

// tickClaimsLocked looks into what a node has reported besides, as soon as there is an answer to what it reported before.
func (p *Pool) tickClaimsLocked(now time.Time, n *node) {
	if n.distrusted {
		clear(n.claims)
	}
	for c := range n.claims {
		if p.accusedLocked(n) >= maxAccused {
			return
		}
		delete(n.claims, c)
		k := p.keys[c.key]
		if k != nil && k.key.Generation == c.generation && (k.health.Usable() || k.health.Phase == Cooling) {
			p.accuseLocked(now, k, n.record.ID)
		}
	}
}

// definitive says whether a single report of it takes a key out of use.
func (r Reason) definitive() bool { return r == AuthRejected || r == QuotaExhausted }

// believedLocked says whether a node's report is acted on.
func (p *Pool) believedLocked(now time.Time, from NodeID, k *keyState, s Signal) bool {
	n := p.nodes[from]
	if n == nil || !n.distrusted || s.Reason == Recovered {
		return true
	}
	if s.Reason != AuthRejected || now.Sub(n.lookedInto) < lookEvery {
		return false
	}
	able := p.ableLocked(now, k)
	if len(able) == 0 || p.nodes[able[0]].distrusted { // nobody is there to look into it
		return false
	}
	n.lookedInto = now
	return true
}

// verdictLocked notes what a probe says of the node that accused the key.
func (p *Pool) verdictLocked(now time.Time, from NodeID, k *keyState, s Signal) {
	n, accused := p.nodes[k.accuser], k.health.Reason
	if n == nil || from == k.accuser || !accused.definitive() {
		return
	}
	switch {
	case s.Reason == accused:
		n.refuted = nil
		p.distrustLocked(now, n, false)
	case s.Reason == Recovered && accused == QuotaExhausted && k.health.Phase == Cooling && !now.Before(k.health.Until):
		return // it was over anyway
	case s.Reason == Recovered || accused == AuthRejected && (s.Reason == RateLimited || s.Reason == QuotaExhausted):
		p.refutedLocked(now, n)
	default:
		return
	}
	k.accuser = ""
}

// refutedLocked notes that a report of the node was wrong.
func (p *Pool) refutedLocked(now time.Time, n *node) {
	n.refuted = append(n.refuted, now)
	for len(n.refuted) > 0 && now.Sub(n.refuted[0]) > lieSpan {
		n.refuted = n.refuted[1:]
	}
	if len(n.refuted) >= liesAllowed {
		n.lookedInto = now
		p.distrustLocked(now, n, true)
	}
}

func (p *Pool) distrustLocked(now time.Time, n *node, is bool) {
	if n.distrusted == is {
		return
	}
	if n.distrusted = is; is {
		p.askedAnewLocked(now, n)
	}
	if p.cfg.Distrusted != nil {
		p.cfg.Distrusted(n.record.ID, is)
	}
}
