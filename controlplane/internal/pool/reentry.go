package pool

import "time"

// When a cool-down is over, one node asks the upstream about the key before anybody uses it again: otherwise all holders of a
// popular key would come back in the same moment, and run into the limit together. All others wait for the answer. They end the
// cool-down by themselves only if they do not hear from this control plane any more. Of the keys of one account, one is asked for
// all.

const (
	// reentryMargin is how much longer nodes wait than the upstream said, so that they are told before they end it by themselves;
	// those whose turn has not come are told again at half of it.
	reentryMargin = 30 * time.Second
	reentryRetry  = 5 * time.Second // after a probe that taught nothing
	maxVain       = 3               // of those in a row; then it is in use again: some upstreams answer no such question
)

// reentersLocked puts a key back in use whose cool-down is over and that there is no use in asking about, and says whether it did.
func (p *Pool) reentersLocked(now time.Time, k *keyState) bool {
	if k.probe.node != "" { // asked in vain until now
		k.probe = probe{}
		p.vainLocked(now, k, 0)
	}
	switch {
	case k.key.DisabledAt(now) || k.key.ExpiredAt(now) || !p.heldSomewhereLocked(now, k):
		p.endCoolingLocked(now, k)
	case k.vain >= maxVain:
		p.endAccountsCoolingLocked(now, k)
	default:
		return false
	}
	return true
}

// remindLocked tells nodes once more of a key whose turn has not come, before they end its cool-down by themselves.
func (p *Pool) remindLocked(now time.Time, k *keyState) {
	if now.Sub(k.health.Until) >= reentryMargin/2 && now.Sub(k.again) >= reentryMargin/2 {
		k.again = now
		p.tellLocked(k)
	}
}

// heldSomewhereLocked says whether any node holds the key that can be asked, or can soon: one that has lost its session may be back as long
// as its lease lasts, which is so for all of them when this control plane has just started.
func (p *Pool) heldSomewhereLocked(now time.Time, k *keyState) bool {
	for _, id := range p.sessionIDs {
		if p.nodes[id].session.mayHold(k.key, now) {
			return true
		}
	}
	for _, n := range p.nodes {
		if now.Before(n.leaseUntil) && !n.wiped && k.key.FitsRegion(n.record.Region) {
			return true
		}
	}
	return false
}

// cooledLocked takes the answer about a key whose cool-down is over.
func (p *Pool) cooledLocked(now time.Time, k *keyState, s Signal) {
	switch s.Reason {
	case Recovered:
		p.endAccountsCoolingLocked(now, k)
	case RateLimited, QuotaExhausted:
		p.learnedLocked(now, k, s)
	default:
		p.vainLocked(now, k, reentryRetry)
	}
}

// vainLocked notes a probe that taught nothing, for all of the key's account. The next one comes after a pause.
func (p *Pool) vainLocked(now time.Time, k *keyState, wait time.Duration) {
	vain := k.vain + 1
	for _, other := range append(p.siblingsLocked(k.key), k) {
		h := other.health
		if h.Phase != Cooling || h.Until.After(now) {
			continue
		}
		other.vain = vain
		if wait > 0 {
			h.Until = now.Add(wait)
			p.setLocked(now, other, h)
		}
	}
}

// endAccountsCoolingLocked puts a key back in use, and the others of its account that waited with it.
func (p *Pool) endAccountsCoolingLocked(now time.Time, k *keyState) {
	p.endCoolingLocked(now, k)
	for _, other := range p.siblingsLocked(k.key) {
		if h := other.health; h.Phase == Cooling && !h.Until.After(now) {
			p.endCoolingLocked(now, other)
		}
	}
}

// endCoolingLocked puts the key back in use. It is watched: its first success clears the back-off.
func (p *Pool) endCoolingLocked(now time.Time, k *keyState) {
	h := k.health
	h.Phase, h.Reason, h.Until = Watched, NoReason, time.Time{}
	k.probe, k.vain = probe{}, 0
	p.setLocked(now, k, h)
}
