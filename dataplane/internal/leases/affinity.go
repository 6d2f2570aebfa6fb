package leases

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// circle places the keys of a tier on a circle by a hash of their ids, so that requests which belong together find the same
// key: on this node and on every other that holds it. A request looks from several points, and the key that lies closest behind
// any of them is its own. When a key comes, it takes its share from all others; when one goes, only its own requests move.
// Looking from several points evens the shares out: from one, some keys would have many times the share of others.
type circle struct {
	points []uint32 // ascending
	turns  []int32  // whose they are: places in the tier's keys
	spots  []int32  // the other way round
	begin  []int32  // of the points that begin with so many bits: where the first stands
	shift  int
}

const (
	looks = 8 // points that a request looks from, and keys that it may end with

	// A key may be busier than the mean of its tier's free keys by so much; then the next nearest has the request. One more
	// loan is always allowed, as in a small pool the mean says nothing.
	maxOverMean = 1.25
	spareLoans  = 1
)

// newCircle takes the keys in the order of their turns.
func newCircle(list []standing) circle {
	width := bits.Len(uint(len(list)) / 2)
	c := circle{
		points: make([]uint32, len(list)), turns: make([]int32, len(list)), spots: make([]int32, len(list)),
		begin: make([]int32, 1<<width), shift: 32 - width,
	}
	for turn := range list {
		c.turns[turn] = int32(turn)
	}
	point := func(turn int32) uint32 { return pointOf(uint64(list[turn].key.ID)) }
	slices.SortFunc(c.turns, func(a, b int32) int { return cmp.Compare(point(a), point(b)) })
	next := 0
	for i, turn := range c.turns {
		c.points[i], c.spots[turn] = point(turn), int32(i)
		for ; next <= int(c.points[i]>>c.shift); next++ {
			c.begin[next] = int32(i)
		}
	}
	for ; next < len(c.begin); next++ {
		c.begin[next] = int32(len(list))
	}
	return c
}

// spot answers where the first key from this point on stands; len(points): there is none before the circle closes.
func (c *circle) spot(point uint32) int {
	at := int(c.begin[point>>c.shift])
	for at < len(c.points) && c.points[at] < point {
		at++
	}
	return at
}

// kin picks the key that is nearest to the request's affinity and not too busy.
func (t *tier) kin(v *view, w *Want, miss *missed) (found, bool) {
	spots, distances, ok := t.nearby(v, w.Affinity)
	if !ok {
		return found{}, false
	}
	most := t.mostLoans()
	for range looks {
		best := 0
		for i, d := range distances {
			if d < distances[best] {
				best = i
			}
		}
		distances[best] = math.MaxUint32
		turn := int(t.circle.turns[spots[best]])
		if k := t.keys[turn]; float64(k.loans.Load()) <= most {
			if f, ok := t.ask(turn, w, miss); ok {
				return f, true
			}
		}
	}
	return found{}, false
}

// nearby answers the free keys of the view that lie closest behind each of the affinity's points; not ok: there are none.
func (t *tier) nearby(v *view, affinity uint64) (spots [looks]int32, distances [looks]uint32, ok bool) {
	for i := range spots {
		point := pointOf(affinity + uint64(i))
		spot := v.near.next(t.circle.spot(point))
		if spot < 0 {
			if spot = v.near.next(0); spot < 0 {
				return spots, distances, false
			}
		}
		spots[i], distances[i] = int32(spot), t.circle.points[spot]-point
	}
	return spots, distances, true
}

// mostLoans answers how many loans of a key may be out for it to take one more for affinity's sake.
func (t *tier) mostLoans() float64 {
	keys := max(t.views.whole.count.Load(), 1)
	return maxOverMean*float64(t.loans.out.Load())/float64(keys) + spareLoans
}

// pointOf spreads what is alike all over the circle (the finalizer of SplitMix64).
func pointOf(x uint64) uint32 {
	x *= 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return uint32((x ^ x>>31) >> 32)
}
