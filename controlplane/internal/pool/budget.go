package pool

import (
	"time"
)

// budget is a limit that is used up until its day or month is over. What is given out of it is never given again, unless the node
// gives back what it has not spent. How much is given is on disk before any node hears of it; so a crash loses a rest of a
// budget at most, and never gives one out twice.
type budget struct {
	window uint64
	gone   uint64              // given to holders that are no more
	saved  uint64              // what is given as the disk has it, of this window
	asking map[NodeID]uint64   // who has nothing left for a request, and how much it needs at least
	low    map[NodeID]struct{} // who has something left, but not for long
}

// Budget is what is given out of a budget, as it is stored.
type Budget struct {
	ID     LimitID
	Window uint64
	Given  uint64
	Gone   bool // there is no such limit any more
}

// windows are the present day and month, counted from 1970 and from year 0: what a clock that was set back says later is not
// believed.
type windows struct{ day, month uint64 }

func windowsAt(now time.Time) windows {
	now = now.UTC()
	return windows{uint64(max(now.Unix()/86400, 1)), uint64(max(now.Year()*12+int(now.Month()), 1))}
}

func (w windows) of(d Dimension) uint64 {
	if d >= DimensionRequestsMonth {
		return w.month
	}
	return w.day
}

func (d Dimension) budget() bool { return d >= DimensionRequestsDay }

func (d Dimension) ofTokens() bool {
	return d == DimensionTokens || d == DimensionTokensDay || d == DimensionTokensMonth
}

// given answers how much is given out: held by nodes, spent or not, or gone with them.
func (l *limit) given() uint64 { return l.outLocked() }

// dealLocked gives nodes more of a budget in small parts, the smaller the less is left, so that the last of it goes where it is
// asked for. When nothing is left, nodes that do not ask give back what they have not spent.
func (p *Pool) dealLocked(l *limit) {
	b := l.budget
	b.turn(l, p.ledger.windows.of(l.id.Dimension))
	nodes := p.presentLocked(l)
	free := l.most - min(l.most, l.given())
	live := uint64(max(len(nodes), 1))
	if b.untouched(l) {
		for _, c := range nodes { // something for the first requests, without asking
			if part := l.most / (4 * live); part > 0 && c.weight > 0 {
				p.giveLocked(l, c.node, c.share, part)
				free -= min(free, part)
			}
		}
	}
	d := p.demandLocked(l.demand)
	for _, c := range nodes {
		need := b.asking[c.node.record.ID]
		if _, low := b.low[c.node.record.ID]; need == 0 && !low || free == 0 {
			continue
		}
		part := min(max(d.soon(l, c.node.record.ID), free/(8*live)), free/(2*live)) // of the last, whoever is stuck has what it needs
		part = min(max(part, need), free)
		delete(b.asking, c.node.record.ID)
		free -= part
		p.giveLocked(l, c.node, c.share, c.share.held+part)
	}
	clear(b.low)
	if l.given() != b.saved {
		p.ledger.unsaved[l.id] = struct{}{}
		p.saveLocked()
	}
	if len(b.asking) > 0 && !p.recallLocked(l, nodes) {
		clear(b.asking) // there is nothing to be had; who still wants it asks again
	}
}

// soon answers what the node's clients ask for in two seconds.
func (d *demand) soon(l *limit, id NodeID) uint64 {
	rate := d.rates[id]
	if l.id.Dimension.ofTokens() {
		rate = d.tokens[id]
	}
	return uint64(rate / 30)
}

// recallLocked has nodes that may have something left of the budget say so, and says whether anything may come of it.
func (p *Pool) recallLocked(l *limit, nodes []candidate) bool {
	expecting := false
	for _, c := range nodes {
		s := c.share
		switch {
		case s.held == 0:
		case s.told > 0 && l.budget.asking[c.node.record.ID] == 0:
			p.giveLocked(l, c.node, s, 0)
			expecting = true
		case s.told == 0 && (s.fresh || s.seq > c.node.session.grantAck):
			expecting = true
		}
	}
	return expecting
}

// untouched says whether nothing of the window has been given out yet.
func (b *budget) untouched(l *limit) bool { return b.saved == 0 && l.given() == 0 }

// turn begins a new window, in which nothing is given yet. What nodes hold of the old one is void when they hear of the new.
func (b *budget) turn(l *limit, window uint64) {
	if b.window >= window {
		return
	}
	b.window, b.gone, b.saved = window, 0, 0
	clear(b.asking)
	clear(b.low)
	for _, s := range l.shares {
		*s = share{}
	}
}

// turnLocked looks whether a day or month is over.
func (p *Pool) turnLocked(now time.Time) {
	w := windowsAt(now)
	was := p.ledger.windows
	p.ledger.windows = windows{max(was.day, w.day), max(was.month, w.month)}
	if p.ledger.windows == was {
		return
	}
	for _, l := range p.ledger.limits {
		if l.budget != nil {
			p.settleLocked(now, l)
		}
	}
}

// LoadBudgets takes what was given out before the start; it is called once, after Load.
func (p *Pool) LoadBudgets(now time.Time, list []Budget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range list {
		l := p.ledger.limits[b.ID]
		if l == nil || l.budget == nil {
			p.ledger.unsaved[b.ID] = struct{}{}
			continue
		}
		if b.Window >= l.budget.window { // a later one: the clock was set back; the budget goes on with what it knows
			l.budget.window, l.budget.gone, l.budget.saved = b.Window, b.Given, b.Given
			delete(p.ledger.unsaved, b.ID)
		}
	}
}

// UnsavedBudgets answers what the disk does not know yet.
func (p *Pool) UnsavedBudgets() []Budget {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Budget, 0, len(p.ledger.unsaved))
	for id := range p.ledger.unsaved {
		b := Budget{ID: id, Gone: true}
		if l := p.ledger.limits[id]; l != nil {
			b = Budget{ID: id, Window: l.budget.window, Given: l.given()}
		}
		list = append(list, b)
	}
	return list
}

// BudgetsSaved is told what has reached the disk: grants that waited for it are told now.
func (p *Pool) BudgetsSaved(list []Budget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range list {
		l := p.ledger.limits[b.ID]
		switch {
		case l == nil:
			if b.Gone {
				delete(p.ledger.unsaved, b.ID)
			}
			continue
		case b.Gone || b.Window != l.budget.window:
			continue
		}
		l.budget.saved = b.Given
		if l.given() == b.Given {
			delete(p.ledger.unsaved, b.ID)
		}
	}
	p.eachSessionLocked((*Session).wake)
}

// safe says whether what is given is on disk.
func (l *limit) safe() bool { return l.budget == nil || l.given() <= l.budget.saved }

// SaveBudgets fires when a node waits for UnsavedBudgets to be saved.
func (p *Pool) SaveBudgets() <-chan struct{} { return p.budgetsDue }

func (p *Pool) saveLocked() {
	select {
	case p.budgetsDue <- struct{}{}:
	default: // that is known already
	}
}
