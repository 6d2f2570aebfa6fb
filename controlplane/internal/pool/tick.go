package pool

import "time"

const timedEvery = time.Second // how often ends of life and of disables are looked for

// Tick lets time pass: cool-downs end, probes fall due, keys expire. Called a few times a second; its cost follows the
// number of keys that are not healthy.
func (p *Pool) Tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		p.tickClaimsLocked(now, n)
		p.tickSpentLocked(now, n)
	}
	p.tickProbesLocked(now)
	p.tickCapacityLocked(now)
	for _, pr := range p.providers {
		if pr.blamed && !pr.window.failing(now) {
			pr.blamed = false
		}
	}
	if now.Sub(p.lastTimed) >= timedEvery {
		p.lastTimed = now
		p.tickTimedLocked(now)
		p.tickCutLocked(now)
	}
}

// tickTimedLocked handles what a time in the key's own record ends: an operator's disable, and the key's life.
func (p *Pool) tickTimedLocked(now time.Time) {
	for id, k := range p.timed {
		if k.key.ExpiredAt(now) {
			delete(p.timed, id)
			p.changedLocked(now, k)
			p.touchLocked(func(s *Session) { s.removeKey(id) })
			continue
		}
		if k.key.Disabled && !k.key.DisabledAt(now) && !k.ended {
			k.ended = true
			p.changedLocked(now, k)
			p.touchLocked(func(s *Session) {
				if s.mayHold(k.key, now) {
					s.health[id] = struct{}{}
					s.keys[id] = struct{}{}
				}
			})
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
