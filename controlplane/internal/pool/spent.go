package pool

import "time"

// Whether a quota is used up cannot be asked: the free question that a probe puts tells that the upstream knows the key, no more. So a
// report of a spent quota is judged by what other nodes meet with the key. A few keys are out on one node's word at once; what it
// reports besides restricts itself alone, until another node says the same, or nobody has contradicted it for a while. It is refuted
// by a key that others still serve with.

const (
	// spentServes is how long after a report a success does not contradict it: the request may have begun before.
	spentServes = 30 * time.Second
	// spentBelieved is when a report is believed that nobody has contradicted: either no other node uses the key, and loses nothing
	// by it, or it is true. Only then does it outlive the node that met it.
	spentBelieved = 5 * time.Minute
)

// spent is what a node has reported of a key's quota and is not acted on yet.
type spent struct {
	at    time.Time
	until time.Time // when the quota is there again
}

// spentLocked says whether a node's report that a key's quota is used up is acted on now.
func (p *Pool) spentLocked(now time.Time, from NodeID, k *keyState, s Signal) bool {
	n, h := p.nodes[from], k.health
	switch {
	case n == nil, !h.Usable() && h.Phase != Cooling:
		return true
	case p.secondedLocked(now, from, k):
		k.accuser = ""
		return true
	case h.Phase == Cooling && h.Reason == QuotaExhausted:
		return true
	case p.onItsWordLocked(n, k.key.Provider) >= p.mostOnOneWordLocked(k.key.Provider) && p.othersHoldLocked(now, from, k.key):
		n.reportsSpent(now, k, p.spentWait(k, s))
		return false
	}
	k.accuser = from
	n.takesOut(k.key.ID)
	return true
}

func (p *Pool) spentWait(k *keyState, s Signal) time.Duration {
	if s.RetryAfter > 0 {
		return min(s.RetryAfter, longestWait)
	}
	return p.backoff(QuotaExhausted, k.health.Ejections)
}

// reportsSpent notes a report. One that is said again is as old as it was.
func (n *node) reportsSpent(now time.Time, k *keyState, wait time.Duration) {
	if n.spent == nil {
		n.spent = map[claim]spent{}
	}
	c := claim{k.key.ID, k.key.Generation}
	if _, said := n.spent[c]; !said && len(n.spent) < maxClaims {
		n.spent[c] = spent{at: now, until: now.Add(wait)}
	}
}

func (n *node) takesOut(id KeyID) {
	if n.exhausted == nil {
		n.exhausted = map[KeyID]struct{}{}
	}
	n.exhausted[id] = struct{}{}
}

// secondedLocked says whether another node has reported the same. Then that one was right.
func (p *Pool) secondedLocked(now time.Time, from NodeID, k *keyState) (is bool) {
	for id, n := range p.nodes {
		c := claim{k.key.ID, k.key.Generation}
		_, said := n.spent[c]
		if id == from || !said && !p.restsOnLocked(n, k) {
			continue
		}
		delete(n.spent, c)
		n.refuted = nil
		p.distrustLocked(now, n, false)
		is = true
	}
	return is
}

// restsOnLocked says whether the key waits for its quota on the node's word alone.
func (p *Pool) restsOnLocked(n *node, k *keyState) bool {
	return k.health.Phase == Cooling && k.health.Reason == QuotaExhausted && k.accuser == n.record.ID
}

// onItsWordLocked counts the keys of a provider that wait for their quota on the node's word alone.
func (p *Pool) onItsWordLocked(n *node, of ProviderID) (count int) {
	for id := range n.exhausted {
		switch k := p.keys[id]; {
		case k == nil || !p.restsOnLocked(n, k):
			delete(n.exhausted, id)
		case k.key.Provider == of:
			count++
		}
	}
	return count
}

// mostOnOneWordLocked answers how many keys of a provider may: at most half, so that the others can show what is true.
func (p *Pool) mostOnOneWordLocked(of ProviderID) int {
	pr := p.providers[of]
	if pr == nil {
		return maxAccused
	}
	return max(1, min(maxAccused, pr.keys/2))
}

// othersHoldLocked says whether another node that is there may use the key, and would be wronged by a false report.
func (p *Pool) othersHoldLocked(now time.Time, from NodeID, k Key) bool {
	for _, id := range p.sessionIDs {
		if id != from && p.nodes[id].session.mayHold(k, now) {
			return true
		}
	}
	return false
}

// doubtedLocked answers the nodes with reports that are not acted on yet: hardly ever any.
func (p *Pool) doubtedLocked() (list []*node) {
	for _, n := range p.nodes {
		if len(n.spent) > 0 {
			list = append(list, n)
		}
	}
	return list
}

// servedLocked takes a success of a key: what other nodes say of its quota is wrong.
func (p *Pool) servedLocked(now time.Time, k *keyState, o Observation, doubted []*node) {
	c := claim{k.key.ID, k.key.Generation}
	for _, n := range doubted {
		if s, said := n.spent[c]; said && n.record.ID != o.Node && o.SealedAt.Sub(s.at) >= spentServes {
			delete(n.spent, c)
			p.refutedLocked(now, n)
		}
	}
}

// tickSpentLocked acts on reports that nobody has contradicted.
func (p *Pool) tickSpentLocked(now time.Time, n *node) {
	for c, s := range n.spent {
		k := p.keys[c.key]
		if k != nil && k.key.Generation == c.generation && now.Before(s.until) && now.Sub(s.at) < spentBelieved {
			continue
		}
		delete(n.spent, c)
		if k == nil || k.key.Generation != c.generation || !now.Before(s.until) || n.distrusted || !k.health.Usable() {
			continue
		}
		k.accuser = n.record.ID
		n.takesOut(c.key)
		p.coolLocked(now, k, Signal{Key: c.key, Generation: c.generation, Reason: QuotaExhausted, RetryAfter: s.until.Sub(now)})
	}
}

// askedAnewLocked ends the waits that rest on the word of a node that is not believed any more: another node asks about the keys now.
// The keys of an account that wait with one of them do no longer than it does.
func (p *Pool) askedAnewLocked(now time.Time, n *node) {
	for id := range n.exhausted {
		k := p.keys[id]
		if k == nil || !p.restsOnLocked(n, k) {
			continue
		}
		with := k.health.Until
		for _, other := range append(p.siblingsLocked(k.key), k) {
			if h := other.health; h.Phase == Cooling && h.Reason == QuotaExhausted && h.Until.Equal(with) && with.After(now) {
				h.Until = now
				p.setLocked(now, other, h)
			}
		}
	}
	clear(n.exhausted)
}
