package pool

import "time"

// When a cool-down is over, one node asks the upstream about the key before anybody uses it again: otherwise all holders of a
// popular key would come back in the same moment, and run into the limit together. All others wait for the answer. They end the
// cool-down by themselves only if they do not hear from this control plane any more. Of the keys of one account, one is asked for
// all.

const (
	reentryMargin = 5 * time.Second // that nodes wait longer than they are told to be asked about
	maxReentries  = 16              // that one provider is asked about at the same time; the others wait for their turn
	reentryRetry  = 5 * time.Second // after a probe that taught nothing, and until another turn
)

// reenterLocked looks after a key whose cool-down is over.
func (p *Pool) reenterLocked(now time.Time, k *keyState) {
	if k.probe.node != "" && now.Before(k.probe.until) {
		return
	}
	if k.key.DisabledAt(now) || k.key.ExpiredAt(now) || !p.mayAskLocked(now, k) {
		p.endCoolingLocked(now, k)
		return
	}
	if p.askedAboutLocked(now, k) >= maxReentries || p.askedForAccountLocked(now, k) {
		h := k.health
		h.Until = now.Add(reentryRetry)
		p.setLocked(now, k, h)
		return
	}
	p.askLocked(now, k, k.probe.node)
}

// mayAskLocked says whether any node can be asked.
func (p *Pool) mayAskLocked(now time.Time, k *keyState) bool {
	for _, id := range p.sessionIDs {
		if s := p.nodes[id].session; s.synced && s.mayHold(k.key, now) {
			return true
		}
	}
	return false
}

// askedAboutLocked counts the keys of the same provider that are being asked about after a cool-down.
func (p *Pool) askedAboutLocked(now time.Time, k *keyState) int {
	n := 0
	for _, other := range p.out {
		if other.key.Provider == k.key.Provider && other.health.Phase == Cooling && other.probe.node != "" && now.Before(other.probe.until) {
			n++
		}
	}
	return n
}

// askedForAccountLocked says whether a key of the same account is being asked about.
func (p *Pool) askedForAccountLocked(now time.Time, k *keyState) bool {
	for _, other := range p.siblingsLocked(k.key) {
		if other.health.Phase == Cooling && other.probe.node != "" && now.Before(other.probe.until) {
			return true
		}
	}
	return false
}

// cooledLocked takes the answer about a key whose cool-down is over.
func (p *Pool) cooledLocked(now time.Time, k *keyState, s Signal) {
	switch s.Reason {
	case Recovered:
		p.endCoolingLocked(now, k)
		for _, other := range p.siblingsLocked(k.key) {
			if h := other.health; h.Phase == Cooling && !h.Until.After(now.Add(reentryRetry)) {
				p.endCoolingLocked(now, other)
			}
		}
	case AuthRejected, RateLimited, QuotaExhausted:
		p.learnedLocked(now, k, s)
	default:
		h := k.health
		h.Until = now.Add(reentryRetry)
		p.setLocked(now, k, h)
	}
}

// endCoolingLocked puts the key back in use. It is watched: its first success clears the back-off.
func (p *Pool) endCoolingLocked(now time.Time, k *keyState) {
	h := k.health
	h.Phase, h.Reason, h.Until = Watched, NoReason, time.Time{}
	k.probe = probe{}
	p.setLocked(now, k, h)
}
