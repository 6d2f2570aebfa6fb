package leases

import (
	"cmp"
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

// near is a key that lies close behind one of the points.
type near struct {
	distance uint32
	spot     int32
}

// nearest answers the free keys of the view that are nearest to the affinity, the nearest first.
func (t *tier) nearest(v *view, affinity uint64) (list [looks]near, n int) {
	for i := range uint64(looks) {
		point := pointOf(affinity + i)
		spot := v.near.next(t.circle.spot(point))
		if spot < 0 {
			if spot = v.near.next(0); spot < 0 {
				return list, 0
			}
		}
		one := near{t.circle.points[spot] - point, int32(spot)}
		at := n
		for ; at > 0 && list[at-1].distance > one.distance; at-- {
			list[at] = list[at-1]
		}
		list[at] = one
		n++
	}
	return list, n
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
