package pool

import (
	"slices"
	"time"
)

// The ledger is who holds what of every limit. It deals capacity out in whole permits, tokens and slots, as shares to nodes,
// and keeps one rule, whatever is lost, late or dies: what all nodes hold of a limit, what still rests of what they gave back, and
// what is spent of a budget are together never more than the limit. A node counts as holding what it was told last, or what it
// last said it has, whichever is more; so a share moves by shrink, confirmation, growth, in this order.
//
// Without this rule a minute could see more requests than a limit allows: each node keeps to its share, and nobody else counts.
//
// A permit that was used rests for a minute before it is used again, and the nodes see to that for what they hold. What comes
// from a node that does not say what it used rests here.

// LimitKind says whose limit it is. The numbers are stored, and are those of the wire.
type LimitKind uint8

// The kinds.
const (
	LimitOfKey   LimitKind = 1
	LimitOfToken LimitKind = 2
	LimitOfGroup LimitKind = 4
)

// Dimension is what a limit counts. The numbers are stored, and are those of the wire.
type Dimension uint8

// The dimensions.
const (
	DimensionRequests      Dimension = 1
	DimensionTokens        Dimension = 2
	DimensionConcurrency   Dimension = 3
	DimensionRequestsDay   Dimension = 4
	DimensionTokensDay     Dimension = 5
	DimensionRequestsMonth Dimension = 6
	DimensionTokensMonth   Dimension = 7
)

// LimitID names one limit.
type LimitID struct {
	Kind      LimitKind
	ID        uint64
	Dimension Dimension
}

// account is what limits belong to.
type account struct {
	kind LimitKind
	id   uint64
}

const (
	// restFor is longer than nodes have a used permit rest, see the data plane's capacity.Rest, and so covers what a node used in its
	// last moment.
	restFor = 65 * time.Second
	// floorHold is the longest that the floor of a hard limit is kept for a node after its lease.
	floorHold = 5 * time.Minute
)

// limit is one limit and who holds what of it.
type limit struct {
	id       LimitID
	most     uint64
	hard     bool
	demand   demandID
	shares   map[NodeID]*share
	resting  []rest
	learning bool // what is not held may be held by nodes that this control plane has not heard of yet: it is not given away
	budget   *budget
}

// share is what one node holds.
type share struct {
	told  uint64 // what it may hold, as it was or is about to be told
	held  uint64 // the most that it can have: never less than told
	sent  uint64 // what it was told last
	seq   uint64 // the update that told it
	fresh bool   // decided, but not sent yet
	asked time.Time
}

// rest is what was given back without having rested.
type rest struct {
	amount uint64
	until  time.Time
}

// ledger holds all limits. Guarded by the pool's lock.
type ledger struct {
	limits  map[LimitID]*limit
	bounds  map[account]Limits
	groups  map[GroupID]map[KeyID]struct{}
	demands map[demandID]*demand
	resting map[LimitID]struct{} // limits of which something rests
	unsaved map[LimitID]struct{} // budgets of which the disk does not know what is given
	windows windows
	loading bool
	used    time.Time // nodes of an earlier life that do not hold anything any more may have used what they had until then

	learnt struct{ slots, soft, hard bool } // which limits are not learning any more
}

func newLedger() ledger {
	return ledger{
		limits: map[LimitID]*limit{}, bounds: map[account]Limits{}, groups: map[GroupID]map[KeyID]struct{}{},
		demands: map[demandID]*demand{}, resting: map[LimitID]struct{}{}, unsaved: map[LimitID]struct{}{},
	}
}

// accountOf answers what the key's limits belong to.
func accountOf(k Key) account {
	if g := GroupIDOf(k.Provider, k.Group); g != 0 {
		return account{LimitOfGroup, uint64(g)}
	}
	return account{LimitOfKey, uint64(k.ID)}
}

// boundKeyLocked keeps the limits in step with a key that has come, changed or gone.
func (p *Pool) boundKeyLocked(now time.Time, before, after *Key) {
	l := &p.ledger
	for _, k := range []*Key{before, after} {
		if k == nil {
			continue
		}
		if g := GroupIDOf(k.Provider, k.Group); g != 0 && k == after {
			if l.groups[g] == nil {
				l.groups[g] = map[KeyID]struct{}{}
			}
			l.groups[g][k.ID] = struct{}{}
		} else if g != 0 && (after == nil || accountOf(*after) != accountOf(*k)) {
			delete(l.groups[g], k.ID)
			if len(l.groups[g]) == 0 {
				delete(l.groups, g)
			}
		}
	}
	if before != nil && (after == nil || accountOf(*after) != accountOf(*before)) {
		p.boundAccountLocked(now, accountOf(*before), before.Provider, nil)
	}
	if after != nil {
		p.boundAccountLocked(now, accountOf(*after), after.Provider, after)
	}
}

// boundAccountLocked takes the limits of a key, or the strictest of all keys of a group. Siblings are told when they change.
func (p *Pool) boundAccountLocked(now time.Time, a account, provider ProviderID, changed *Key) {
	var l Limits
	siblings := p.ledger.groups[GroupID(a.id)]
	switch {
	case a.kind == LimitOfKey && changed != nil:
		l = changed.Limits
	case a.kind == LimitOfGroup:
		for id := range siblings {
			switch k := p.keys[id]; {
			case changed != nil && id == changed.ID:
				l = l.strictest(changed.Limits)
			case k != nil:
				l = l.strictest(k.key.Limits)
			}
		}
	}
	if p.ledger.bounds[a] == l {
		return
	}
	p.boundLocked(now, a, demandID{provider: provider}, l)
	if a.kind != LimitOfGroup {
		return
	}
	p.eachSessionLocked(func(s *Session) {
		for id := range siblings {
			if k := p.keys[id]; k != nil && s.mayHold(k.key, now) {
				s.keys[id] = struct{}{}
			}
		}
		s.wake()
	})
}

// withBounds answers the key with the limits that hold for it: those of its account.
func (p *Pool) withBounds(k Key) Key {
	k.Limits = p.ledger.bounds[accountOf(k)]
	return k
}

// boundLocked sets the limits of an account.
func (p *Pool) boundLocked(now time.Time, a account, d demandID, to Limits) {
	p.ledger.bounds[a] = to
	if to == (Limits{}) {
		delete(p.ledger.bounds, a)
	}
	for dimension, most := range to.each {
		id := LimitID{a.kind, a.id, dimension}
		l := p.ledger.limits[id]
		if l == nil && most == 0 {
			continue
		}
		if l == nil {
			l = &limit{id: id, demand: d, shares: map[NodeID]*share{}, learning: p.ledger.loading && !dimension.budget()}
			if dimension.budget() {
				l.budget = &budget{asking: map[NodeID]uint64{}, low: map[NodeID]struct{}{}}
			}
			p.ledger.limits[id] = l
			p.demandLocked(d).limits[id] = struct{}{}
		}
		l.most, l.hard = most, to.Hard
		p.settleLocked(now, l)
	}
}

// each yields every limit with its dimension, also those that there are not.
func (l Limits) each(yield func(Dimension, uint64) bool) {
	for i, most := range [...]uint64{
		l.RequestsPerMinute, l.TokensPerMinute, l.MaxConcurrent, l.RequestsPerDay, l.TokensPerDay, l.RequestsPerMonth, l.TokensPerMonth,
	} {
		if !yield(Dimension(i+1), most) {
			return
		}
	}
}

// unboundLocked forgets a limit that there is not any more, once nobody holds anything of it: what nodes were told counts until they
// have given it back, also for a limit that is set again soon. A budget is remembered until its day or month is over.
func (p *Pool) unboundLocked(l *limit) {
	if l.most > 0 || l.outLocked() > 0 {
		return
	}
	delete(p.ledger.limits, l.id)
	delete(p.ledger.resting, l.id)
	if l.budget != nil {
		p.ledger.unsaved[l.id] = struct{}{} // its row has to go
	}
	if d := p.ledger.demands[l.demand]; d != nil {
		if delete(d.limits, l.id); len(d.limits) == 0 {
			delete(p.ledger.demands, l.demand)
		}
	}
}

// mayHoldLocked says whether the node may hold a share of the limit.
func (p *Pool) mayHoldLocked(l *limit, n *node) bool {
	fits := func(id KeyID) bool {
		k := p.keys[id]
		return k != nil && k.key.FitsRegion(n.record.Region)
	}
	switch l.id.Kind {
	case LimitOfKey:
		return fits(KeyID(l.id.ID))
	case LimitOfGroup:
		for id := range p.ledger.groups[GroupID(l.id.ID)] {
			if fits(id) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

// outLocked answers how much of the limit is not to be given away: held by anybody, resting or spent.
func (l *limit) outLocked() uint64 {
	var sum uint64
	for _, s := range l.shares {
		sum += s.held
	}
	for _, r := range l.resting {
		sum += r.amount
	}
	if l.budget != nil {
		sum += l.budget.gone
	}
	return sum
}

func (l *limit) share(id NodeID) *share {
	s := l.shares[id]
	if s == nil {
		s = &share{}
		l.shares[id] = s
	}
	return s
}

// giveLocked decides what a node may hold.
func (p *Pool) giveLocked(l *limit, n *node, s *share, amount uint64) {
	if s.told == amount {
		return
	}
	s.told, s.held, s.fresh = amount, max(s.held, amount), true
	n.session.grants[l.id] = struct{}{}
	n.session.wake()
}

// restLocked takes back what a node held without knowing what of it has rested.
func (p *Pool) restLocked(l *limit, amount uint64, from time.Time) {
	if amount == 0 || l.id.Dimension == DimensionConcurrency {
		return
	}
	if l.budget != nil {
		l.budget.gone += amount
		return
	}
	l.resting = append(l.resting, rest{amount, from.Add(restFor)})
	p.ledger.resting[l.id] = struct{}{}
}

// rise forgets what has rested.
func (l *limit) rise(now time.Time) {
	l.resting = slices.DeleteFunc(l.resting, func(r rest) bool { return !now.Before(r.until) })
}
