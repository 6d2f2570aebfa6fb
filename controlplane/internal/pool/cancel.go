package pool

import "time"

// cut is the wish that requests which are under way with a key end at once, because the key has leaked. It is made before the
// disable or the removal that it goes with, and is told with that in every session from then on: a node that was away hears of
// it when it is back. It ends when the key is enabled, or when no node can have such a request any more. Like clears, wishes are
// not saved: with a new start of the control plane, a node that comes back is told only that the key is disabled.
type cut struct {
	asked   time.Time // as the first tick after it saw; zero: none has
	armed   bool      // the disable or the removal has come
	removed time.Time // zero: the key is still there
}

// cutWaits is for how long a wish waits for its disable or removal; then that was refused, or could not be saved.
const cutWaits = time.Minute

// CancelInFlight has requests that are under way with these keys cut off at all nodes, as soon as each key is disabled or removed
// and the node hears of it. It is to be called before the change is committed, so that the two are told as one. A wish whose disable
// is in force stays as it is, whatever becomes of the change that comes now.
func (p *Pool) CancelInFlight(now time.Time, ids []KeyID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		if k := p.keys[id]; k != nil && (!p.cuts[id].armed || !k.key.DisabledAt(now)) {
			p.cuts[id] = cut{}
		}
	}
}

// cutLocked says whether a disable or removal of the key is to end what is under way with it.
func (p *Pool) cutLocked(id KeyID) bool {
	_, asked := p.cuts[id]
	return asked
}

// armCutLocked takes a change of the key. A wish goes with the first disable after it, for as long as that holds.
func (p *Pool) armCutLocked(now time.Time, before, key Key) {
	c, asked := p.cuts[key.ID]
	switch {
	case !asked:
	case !key.Disabled && !c.armed: // another change came in between
	case !key.Disabled, c.armed && !before.DisabledAt(now), !c.removed.IsZero():
		delete(p.cuts, key.ID)
	default:
		c.armed = true
		p.cuts[key.ID] = c
	}
}

// removeCutLocked keeps the wish for the nodes that are away, until the last of them has stopped.
func (p *Pool) removeCutLocked(now time.Time, id KeyID) {
	if c, asked := p.cuts[id]; asked {
		c.armed, c.removed = true, now
		p.cuts[id] = c
	}
}

// tickCutsLocked drops the wishes that nobody is to hear of any more.
func (p *Pool) tickCutsLocked(now time.Time) {
	for id, c := range p.cuts {
		switch {
		case !c.removed.IsZero():
			if now.Sub(c.removed) > p.cfg.leaseTTL()+p.cfg.grace() {
				delete(p.cuts, id)
			}
		case c.armed:
			if k := p.keys[id]; k == nil || !k.key.DisabledAt(now) {
				delete(p.cuts, id)
			}
		case c.asked.IsZero():
			c.asked = now
			p.cuts[id] = c
		case now.Sub(c.asked) > cutWaits:
			delete(p.cuts, id)
		}
	}
}

// oweCutsLocked has a new session hear of all wishes, for the node may have been away.
func (s *Session) oweCutsLocked(now time.Time) {
	for id, c := range s.pool.cuts {
		switch k := s.pool.keys[id]; {
		case !c.removed.IsZero():
			s.removed[id] = struct{}{}
		case k != nil && c.armed && s.mayHold(k.key, now):
			s.health[id] = struct{}{}
		}
	}
}
