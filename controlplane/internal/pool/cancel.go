package pool

import "time"

// When a key has leaked, requests that are under way with it are to end as well. For a disable the key's record says so, as
// long as the disable holds; for a removal it is remembered here, until no node can have such a request any more. Either is told
// in every session: a node that was away hears of it when it is back, whether this control plane was started anew meanwhile or not.

// CutAt says whether requests that are under way with the key are to end.
func (k Key) CutAt(now time.Time) bool { return k.Cut && k.DisabledAt(now) }

// tickCutLocked forgets the removals that nobody is to hear of any more: nodes that were away have stopped.
func (p *Pool) tickCutLocked(now time.Time) {
	for id, at := range p.cut {
		if now.Sub(at) > p.cfg.leaseTTL()+p.cfg.grace() {
			delete(p.cut, id)
		}
	}
}
