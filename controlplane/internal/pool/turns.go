package pool

import (
	"cmp"
	"slices"
	"time"
)

// One node at a time asks the upstream about a key that is out, on behalf of the whole fleet. However many keys are due at once,
// after an outage or a limit that all have met, a provider is asked about few of them at a time: the others stay out and wait for
// their turn, which comes with the tick after an answer. Suspects go first, then who has waited longest.

const (
	probeTTL = time.Minute // a probe not answered by then is given to another node
	maxAsked = 16          // keys that one provider is asked about at the same time
)

// tickProbesLocked has those keys asked about that are due. Its cost follows the number of keys that are out.
func (p *Pool) tickProbesLocked(now time.Time) {
	var due []*keyState
	asked := map[GroupID]bool{} // accounts that are being asked about
	for _, k := range p.out {
		switch {
		case k.health.Phase == Watched:
		case k.probe.runs(now):
			if k.health.Phase == Cooling && k.key.Group != "" {
				asked[GroupIDOf(k.key.Provider, k.key.Group)] = true
			}
		case !now.Before(k.health.Until):
			due = append(due, k)
		}
	}
	next := map[ProviderID][]*keyState{}
	for _, k := range due {
		cooling := k.health.Phase == Cooling
		switch {
		case k.health.Usable(): // it was opened with its account a moment ago
			continue
		case cooling && p.reentersLocked(now, k), k.key.DisabledAt(now) || k.key.ExpiredAt(now):
			continue
		case cooling && k.key.Group != "":
			account := GroupIDOf(k.key.Provider, k.key.Group)
			if asked[account] {
				continue
			}
			asked[account] = true
		}
		next[k.key.Provider] = inTurn(next[k.key.Provider], k)
	}
	for _, list := range next {
		for _, k := range list {
			p.askLocked(now, k)
		}
	}
	for _, k := range due {
		if k.health.Phase == Cooling && !k.probe.runs(now) {
			p.remindLocked(now, k)
		}
	}
}

// inTurn puts a key in its place among the first of those that are due.
func inTurn(list []*keyState, k *keyState) []*keyState {
	at, _ := slices.BinarySearchFunc(list, k, earlier)
	if at == maxAsked {
		return list
	}
	return slices.Insert(list, at, k)[:min(len(list)+1, maxAsked)]
}

// earlier orders by whose turn comes first.
func earlier(a, b *keyState) int {
	if suspect := a.health.Phase == Suspect; suspect != (b.health.Phase == Suspect) {
		return map[bool]int{true: -1, false: 1}[suspect]
	}
	return cmp.Or(a.health.Until.Compare(b.health.Until), cmp.Compare(a.key.ID, b.key.ID))
}

// askLocked has one live node that holds the key probe it: rather another one than was asked before, or than met the failure, as
// those may be the ones that are wrong. With no node, or out of turn, it waits: a key that nobody holds is used by nobody.
func (p *Pool) askLocked(now time.Time, k *keyState) {
	k.probe = probe{}
	pr := p.providers[k.key.Provider]
	if pr != nil && p.askedAboutLocked(now, pr) >= maxAsked {
		return
	}
	able := p.ableLocked(now, k)
	if len(able) == 0 {
		return
	}
	k.asked = able[uint64(k.key.ID)%uint64(len(able))]
	k.probe, k.again = probe{node: k.asked, until: now.Add(probeTTL)}, now
	if pr != nil {
		pr.asked[k.key.ID] = struct{}{}
	}
	p.tellLocked(k)
}

// askedAboutLocked counts the keys that a provider is being asked about.
func (p *Pool) askedAboutLocked(now time.Time, pr *providerState) int {
	if pr.asked == nil {
		pr.asked = map[KeyID]struct{}{}
	}
	for id := range pr.asked {
		if k := p.keys[id]; k == nil || !k.probe.runs(now) {
			delete(pr.asked, id)
		}
	}
	return len(pr.asked)
}

// ableLocked answers the nodes that can best be asked about a key.
func (p *Pool) ableLocked(now time.Time, k *keyState) []NodeID {
	var able []NodeID
	for _, id := range p.sessionIDs {
		if s := p.nodes[id].session; s.synced && s.mayHold(k.key, now) {
			able = append(able, id)
		}
	}
	for _, worse := range [...]func(NodeID) bool{
		func(id NodeID) bool { return p.nodes[id].distrusted },
		func(id NodeID) bool { return id == k.asked },
		func(id NodeID) bool { return id == k.accuser },
	} {
		if slices.ContainsFunc(able, func(id NodeID) bool { return !worse(id) }) {
			able = slices.DeleteFunc(able, worse)
		}
	}
	return able
}
