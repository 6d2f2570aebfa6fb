package pool

import (
	"slices"
	"time"
)

const (
	probeTTL   = time.Minute // a probe not answered by then is given to another node
	timedEvery = time.Second // how often ends of life and of disables are looked for
)

// Tick lets time pass: cool-downs end, probes fall due, keys expire. Called a few times a second; its cost follows the
// number of keys that are not healthy.
func (p *Pool) Tick(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.out {
		p.tickKeyLocked(now, k)
	}
	p.tickCapacityLocked(now)
	for _, pr := range p.providers {
		if pr.blamed && !pr.window.failing(now) {
			pr.blamed = false
		}
	}
	if now.Sub(p.lastTimed) >= timedEvery {
		p.lastTimed = now
		p.tickTimedLocked(now)
		p.tickCutsLocked(now)
	}
}

func (p *Pool) tickKeyLocked(now time.Time, k *keyState) {
	switch k.health.Phase {
	case Cooling:
		if !now.Before(k.health.Until) {
			p.reenterLocked(now, k)
		}
	case Suspect, AutoOff:
		if k.probe.node != "" && now.Before(k.probe.until) {
			return
		}
		if !now.Before(k.health.Until) && !k.key.DisabledAt(now) && !k.key.ExpiredAt(now) {
			p.askLocked(now, k, k.probe.node)
		}
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

// askLocked has one live node that holds the key probe it, rather another one than `not`: whoever met the failure may be
// the one that is wrong. With no node it waits: a key that nobody holds is used by nobody.
func (p *Pool) askLocked(now time.Time, k *keyState, not NodeID) {
	var able []NodeID
	for _, id := range sortedKeys(p.nodes) {
		if s := p.nodes[id].session; s != nil && s.synced && s.mayHold(k.key, now) {
			able = append(able, id)
		}
	}
	for _, worse := range [...]func(NodeID) bool{
		func(id NodeID) bool { return p.nodes[id].distrusted },
		func(id NodeID) bool { return id == not },
	} {
		if slices.ContainsFunc(able, func(id NodeID) bool { return !worse(id) }) {
			able = slices.DeleteFunc(able, worse)
		}
	}
	if len(able) == 0 {
		k.probe = probe{}
		return
	}
	k.probe = probe{node: able[uint64(k.key.ID)%uint64(len(able))], until: now.Add(probeTTL)}
	p.tellLocked(k)
}
