package leases

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// ring is the rotation of one provider's keys: tiers by priority, in each a sequence in which a key of weight w stands w
// times, spread out. Immutable but for the hands.
type ring struct{ tiers []*tier }

type tier struct {
	priority int
	sequence []*Key
	hand     atomic.Uint64 // the next place to look at
}

// buildRings makes the rotation anew from the keys held; hands stay where they were, so that a change of one key does not
// send everybody back to the first.
func buildRings(keys map[KeyID]*Key, old map[string]*ring) map[string]*ring {
	byProvider := map[string][]*Key{}
	for _, k := range keys {
		id := k.lease.Load().provider
		byProvider[id] = append(byProvider[id], k)
	}
	rings := make(map[string]*ring, len(byProvider))
	for id, list := range byProvider {
		rings[id] = buildRing(list, old[id])
	}
	return rings
}

func buildRing(list []*Key, old *ring) *ring {
	slices.SortFunc(list, func(a, b *Key) int {
		return cmp.Or(cmp.Compare(a.lease.Load().priority, b.lease.Load().priority), cmp.Compare(a.ID, b.ID))
	})
	r := &ring{}
	for len(list) > 0 {
		priority := list[0].lease.Load().priority
		end := slices.IndexFunc(list, func(k *Key) bool { return k.lease.Load().priority != priority })
		if end < 0 {
			end = len(list)
		}
		t := &tier{priority: priority, sequence: interleave(list[:end])}
		t.hand.Store(old.hand(priority))
		r.tiers = append(r.tiers, t)
		list = list[end:]
	}
	return r
}

func (r *ring) hand(priority int) uint64 {
	if r == nil {
		return 0
	}
	for _, t := range r.tiers {
		if t.priority == priority {
			return t.hand.Load()
		}
	}
	return 0
}

// interleave goes over the keys once per unit of the largest weight and takes those that have so much.
func interleave(keys []*Key) []*Key {
	most, total := 1, 0
	for _, k := range keys {
		w := max(k.lease.Load().weight, 1)
		most, total = max(most, w), total+w
	}
	sequence := make([]*Key, 0, total)
	for pass := range most {
		for _, k := range keys {
			if max(k.lease.Load().weight, 1) > pass {
				sequence = append(sequence, k)
			}
		}
	}
	return sequence
}
