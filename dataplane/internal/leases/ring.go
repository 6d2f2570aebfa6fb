package leases

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// ring is the rotation of one provider's keys, in tiers by priority. Immutable but for what a tier says of itself.
type ring struct{ tiers []*tier }

// tier is the keys of one priority. In each pass every key that is heavy enough has one turn: a key of weight 3 has one in the
// first, second and third pass. As the heaviest stand first, the keys of a pass are the first so many.
//
// Which keys a turn may fall to at this moment is told by views; see view.go. What a tier is made of never changes: when
// keys come or go, the provider gets new tiers.
type tier struct {
	priority int32
	keys     []*Key
	passes   []pass
	turns    uint64 // in all passes
	circle   circle // the same keys, for requests with an affinity

	lists []*modelList // that the keys have, each once
	list  []int32      // which of them each key has

	loans *loans // out of this tier; the same as in the tier that this one replaces
	views views
}

type pass struct {
	begin uint64 // its first turn
	keys  int
}

// loans counts what is out. A cache line of its own: every request writes here.
type loans struct {
	out atomic.Int64
	_   [56]byte
}

// standing is a key with what its place depends on.
type standing struct {
	key      *Key
	models   *modelList
	priority int32
	weight   int
}

// buildRingsLocked makes anew the rotation of the providers whose keys have come, gone or changed their places. Hands stay where
// they were, so that a change of one key does not send everybody back to the first.
func (b *Book) buildRingsLocked() {
	if len(b.moved) == 0 {
		return
	}
	lists := map[string][]standing{}
	for _, k := range b.keys {
		of := k.lease.Load()
		if _, moved := b.moved[of.provider]; moved {
			lists[of.provider] = append(lists[of.provider], standing{
				key: k, models: of.models, priority: of.priority, weight: int(of.weight),
			})
		}
	}
	old := *b.rings.Load()
	rings := make(map[string]*ring, len(old)+len(lists))
	for id, r := range old {
		if _, moved := b.moved[id]; !moved {
			rings[id] = r
		}
	}
	for id, list := range lists {
		rings[id] = buildRing(list, old[id])
		for _, s := range list {
			b.refreshLocked(s.key)
		}
	}
	b.rings.Store(&rings)
	for id := range lists {
		b.wakeWaiters(id)
	}
	clear(b.moved)
}

func buildRing(list []standing, old *ring) *ring {
	slices.SortFunc(list, func(a, b standing) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight), cmp.Compare(a.key.ID, b.key.ID))
	})
	r := &ring{}
	for len(list) > 0 {
		priority := list[0].priority
		end := slices.IndexFunc(list, func(s standing) bool { return s.priority != priority })
		if end < 0 {
			end = len(list)
		}
		r.tiers = append(r.tiers, buildTier(list[:end], old.tier(priority)))
		list = list[end:]
	}
	return r
}

// tier answers the tier of this priority; nil: there is none.
func (r *ring) tier(priority int32) *tier {
	if r == nil {
		return nil
	}
	for _, t := range r.tiers {
		if t.priority == priority {
			return t
		}
	}
	return nil
}

// buildTier takes keys of one priority, the heaviest first, then by id. That is the order in which they came and so the one in
// which they lie in memory, which makes going through many of them several times faster.
func buildTier(list []standing, old *tier) *tier {
	t := &tier{priority: list[0].priority, circle: newCircle(list), loans: &loans{}}
	known := map[*modelList]int32{}
	for turn, s := range list {
		s.key.tier, s.key.turn = t, int32(turn)
		t.keys = append(t.keys, s.key)
		n, ok := known[s.models]
		if !ok {
			n = int32(len(t.lists))
			known[s.models] = n
			t.lists = append(t.lists, s.models)
		}
		t.list = append(t.list, n)
	}
	t.passes, t.turns = passes(list)
	hand := uint64(0)
	if old != nil {
		t.loans, hand = old.loans, old.views.whole.hand.Load()
	}
	t.views.init(t, hand)
	return t
}

// passes counts the keys of each pass; the heaviest stand first.
func passes(list []standing) (all []pass, turns uint64) {
	unit := 0 // keys that all weigh 5 need one pass, not five
	for _, s := range list {
		unit = gcd(unit, s.weight)
	}
	keys := len(list)
	for heavy := unit; heavy <= list[0].weight; heavy += unit {
		for list[keys-1].weight < heavy {
			keys--
		}
		all = append(all, pass{begin: turns, keys: keys})
		turns += uint64(keys)
	}
	return all, turns
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// passOf answers the pass that this turn is in.
func (t *tier) passOf(turn uint64) int {
	low, high := 0, len(t.passes)
	for high-low > 1 {
		if mid := (low + high) / 2; t.passes[mid].begin <= turn {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// from answers the first key from this turn on that the view holds free, and how many turns lie before its; -1: there is none.
func (t *tier) from(v *view, turn uint64) (key int, skipped uint64) {
	turn %= t.turns
	n := t.passOf(turn)
	p := t.passes[n]
	at := int(turn - p.begin)
	if key = v.free.next(at); key >= 0 && key < p.keys {
		return key, uint64(key - at)
	}
	if key = v.free.next(0); key < 0 {
		return -1, 0
	}
	begin := t.turns // of the first pass, the next time round
	if n+1 < len(t.passes) && key < t.passes[n+1].keys {
		begin = t.passes[n+1].begin
	}
	return key, begin + uint64(key) - turn
}
