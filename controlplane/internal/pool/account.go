package pool

import "time"

// pause is a limit or quota that has to pass. The keys of one account have theirs together, because the upstream counts them so.
type pause struct {
	reason Reason
	until  time.Time
}

func (r pause) holds(now time.Time) bool { return now.Before(r.until) }

func (r pause) orLater(o pause) pause {
	if o.until.After(r.until) {
		return o
	}
	return r
}

// siblingsLocked answers the other keys of the key's account.
func (p *Pool) siblingsLocked(k Key) []*keyState {
	var list []*keyState
	for id := range p.ledger.groups[GroupIDOf(k.Provider, k.Group)] {
		if other := p.keys[id]; other != nil && id != k.ID {
			list = append(list, other)
		}
	}
	return list
}

// accountsPauseLocked answers what the other keys of the key's account wait for.
func (p *Pool) accountsPauseLocked(now time.Time, k Key) (r pause) {
	for _, other := range p.siblingsLocked(k) {
		if h := other.health; h.Phase == Cooling {
			r = r.orLater(pause{h.Reason, h.Until})
		}
		if other.health.Phase != Healthy {
			r = r.orLater(other.pause)
		}
	}
	if !r.holds(now) {
		return pause{}
	}
	return r
}

// coolWithLocked has a key wait for what its account waits for. One that is out for something worse looks for that once it is back.
// The row of limits without a hint is the account's.
func (p *Pool) coolWithLocked(now time.Time, k *keyState, with pause, ejections int) {
	h := k.health
	if !with.holds(now) || h.Phase == Suspect || h.Phase == AutoOff || (h.Phase == Cooling && !with.until.After(h.Until)) {
		return
	}
	k.probe, k.vain = probe{}, 0
	ejections = max(ejections, h.Ejections)
	p.setLocked(now, k, Health{Phase: Cooling, Reason: with.reason, Until: with.until, Strikes: h.Strikes, Ejections: ejections})
}
