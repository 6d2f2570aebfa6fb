package pool

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// settleLocked deals out what there is of a limit: shrinks the shares that are too large at once, and lets others grow by what is
// free already. What a shrinking node confirms later is given away then.
func (p *Pool) settleLocked(now time.Time, l *limit) {
	before := l.outLocked()
	l.rise(now)
	if l.budget != nil {
		p.dealLocked(l)
	} else {
		p.divideLocked(now, l)
	}
	p.checkLocked(l, before)
	p.unboundLocked(l)
}

// divideLocked follows demand: each node may have the part of the limit that its clients' part of the demand is.
func (p *Pool) divideLocked(now time.Time, l *limit) {
	nodes := p.presentLocked(l)
	var held uint64 // by those who are here
	for _, c := range nodes {
		held += c.share.held
	}
	out := l.outLocked()
	there := l.most - min(l.most, out-held)
	if l.learning {
		there = min(there, held)
	}
	p.weighLocked(now, l, nodes, there)
	var shrunk uint64 // what all hold once they know of it; what they have not given back yet is not free
	for _, c := range nodes {
		if c.due < c.share.told {
			p.giveLocked(l, c.node, c.share, c.due)
		}
		shrunk += c.share.held
	}
	free := there - min(there, shrunk)
	slices.SortFunc(nodes, func(a, b candidate) int { // those who lack most first
		return cmp.Or(cmp.Compare(b.lack(), a.lack()), cmp.Compare(a.luck, b.luck))
	})
	var lacking uint64
	for _, c := range nodes {
		lacking += c.lack()
	}
	all := free
	for _, c := range nodes {
		if c.lack() == 0 {
			break
		}
		part := uint64(math.Ceil(float64(all) * float64(c.lack()) / float64(lacking)))
		part = min(part, free, c.lack())
		free -= part
		p.giveLocked(l, c.node, c.share, c.share.told+part)
	}
}

// candidate is a node that is here, in the division of one limit.
type candidate struct {
	node   *node
	share  *share
	weight float64
	due    uint64 // what it should have
	part   float64
	luck   float64
}

func (c candidate) lack() uint64 { return c.due - min(c.due, c.share.told) }

// presentLocked answers the nodes with a session that hold of the limit or may.
func (p *Pool) presentLocked(l *limit) []candidate {
	var list []candidate
	for _, id := range p.sessionIDs {
		n := p.nodes[id]
		may := p.mayHoldLocked(l, n)
		if !may && l.shares[id] == nil {
			continue
		}
		c := candidate{node: n, share: l.share(id)}
		if may && !n.record.Drained && n.record.EvictTime.IsZero() {
			c.weight = 1
		}
		list = append(list, c)
	}
	return list
}

// idlePart is what is divided evenly, whatever the demand: so that a quiet node has something for its first request.
const idlePart = 0.1

// weighLocked sets what each should have of so much. Whole permits go by weight; those that cannot be divided evenly go to those
// who have asked for one of late, and else by lot. The lot is the same every time, so that nothing moves without a reason, and
// another one for each limit, so that nobody goes empty for all keys.
func (p *Pool) weighLocked(now time.Time, l *limit, nodes []candidate, there uint64) {
	d := p.demandLocked(l.demand)
	var may, asked float64
	for _, c := range nodes {
		may += c.weight
		if c.weight > 0 {
			asked += d.applied[c.node.record.ID]
		}
	}
	if may == 0 {
		return
	}
	even := idlePart
	if asked == 0 {
		even = 1
	} else if float64(there) < 10*may { // too little to keep some for those who do not ask
		even = 0
	}
	left := there
	for i := range nodes {
		c := &nodes[i]
		if c.weight == 0 {
			continue
		}
		c.weight = even / may
		if asked > 0 {
			c.weight += (1 - even) * d.applied[c.node.record.ID] / asked
		}
		exact := c.weight * float64(there)
		c.due = min(uint64(exact), left)
		c.part = exact - math.Floor(exact)
		c.luck = lot(l.id, c.node.record.ID) / max(c.part, 1e-9)
		left -= c.due
	}
	order := make([]int, 0, len(nodes))
	for i, c := range nodes {
		if c.weight > 0 {
			order = append(order, i)
		}
	}
	recent := func(c candidate) int64 {
		if now.Sub(c.share.asked) > askedFor {
			return 0
		}
		return c.share.asked.UnixNano()
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(recent(nodes[b]), recent(nodes[a])), cmp.Compare(nodes[a].luck, nodes[b].luck))
	})
	for _, i := range order {
		if left == 0 {
			return
		}
		nodes[i].due++
		left--
	}
}

// askedFor is how long a node that asked for capacity goes before others.
const askedFor = 3 * time.Second

// lot draws from the exponential distribution, always the same for a limit and a node: divided by weights, the lowest of such
// draws falls to each in proportion to its weight.
func lot(l LimitID, n NodeID) float64 {
	h := l.ID ^ uint64(l.Dimension)<<56
	for i := range len(n) {
		h = (h ^ uint64(n[i])) * 0x100000001b3
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return -math.Log((float64(h>>11) + 0.5) / (1 << 53))
}

// floorOf answers what of a share is kept for a node after its lease, if the limit is hard. A slot is not: it is free when the
// lease is over, because the requests of a node that died are. A budget is all floor.
func (l *limit) floorOf(amount uint64) uint64 {
	switch {
	case l.budget != nil:
		return amount
	case l.id.Dimension == DimensionConcurrency:
		return 0
	default:
		return (amount + 1) / 2
	}
}
