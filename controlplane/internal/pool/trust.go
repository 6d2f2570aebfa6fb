package pool

import "time"

// A node whose way to the upstream is broken reports good keys as rejected. The fleet believes it once or twice, because it may be
// right, and a probe by another node tells. When too many of its reports were refuted, what it says affects itself alone, which it
// sees to itself. From time to time one of its reports is looked into all the same; when one is confirmed, it is believed again.

const (
	liesAllowed = 3 // refuted reports in lieSpan
	lieSpan     = time.Minute
	lookEvery   = 30 * time.Second // into a report of a node that is not believed
)

// definitive says whether a single report of it takes a key out of use.
func (r Reason) definitive() bool { return r == AuthRejected || r == QuotaExhausted }

// believedLocked says whether a node's report is acted on.
func (p *Pool) believedLocked(now time.Time, from NodeID, _ *keyState, s Signal) bool {
	n := p.nodes[from]
	if n == nil || !n.distrusted || s.Reason == Recovered {
		return true
	}
	if s.Reason != AuthRejected || now.Sub(n.lookedInto) < lookEvery {
		return false
	}
	n.lookedInto = now
	return true
}

// verdictLocked notes what a probe says of the node that accused the key.
func (p *Pool) verdictLocked(now time.Time, k *keyState, s Signal) {
	n := p.nodes[k.accuser]
	if n == nil || !k.health.Reason.definitive() {
		return
	}
	switch s.Reason {
	case Recovered:
		if k.health.Reason == QuotaExhausted && k.health.Phase == Cooling && !now.Before(k.health.Until) { // it was over anyway
			return
		}
		n.refuted = append(n.refuted, now)
		for len(n.refuted) > 0 && now.Sub(n.refuted[0]) > lieSpan {
			n.refuted = n.refuted[1:]
		}
		if len(n.refuted) >= liesAllowed && !n.distrusted {
			n.distrusted, n.lookedInto = true, now
		}
	case AuthRejected, QuotaExhausted:
		n.refuted, n.distrusted = nil, false
	default:
		return
	}
	k.accuser = ""
}

// rejects notes that the provider rejected a key.
func (pr *providerState) rejects(now time.Time, id KeyID) {
	if pr.rejected == nil {
		pr.rejected = map[KeyID]time.Time{}
	}
	pr.rejected[id] = now
}

// rejectsMost says whether the provider rejects so many of the keys in use that it must be the provider: three of them, and half.
func (pr *providerState) rejectsMost(now time.Time) bool {
	pr.window.forget(now)
	for id, at := range pr.rejected {
		if now.Sub(at) > lieSpan {
			delete(pr.rejected, id)
		}
	}
	served := 0
	for id := range pr.window.served {
		if _, rejected := pr.rejected[id]; !rejected {
			served++
		}
	}
	return len(pr.rejected) >= blameKeys && len(pr.rejected) >= served
}
