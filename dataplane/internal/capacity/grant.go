package capacity

import "context"

// Grant is this node's share of one limit, as the control plane gives it: all of it, not a difference.
type Grant struct {
	Name      Name
	Dimension Dimension
	Amount    uint64
	Floor     uint64 // what of it may be used without a lease
	Window    uint64 // of a budget; what was given for an earlier one is void
}

// Holding is what the node has of one limit now, what is in use or resting included.
type Holding struct {
	Name      Name
	Dimension Dimension
	Amount    uint64
	Floor     uint64
	Window    uint64
}

// Apply takes a grant update.
func (t *Table) Apply(seq uint64, grants []Grant) {
	now, leased := t.moment()
	var changed []*Account
	t.mu.Lock()
	for _, g := range grants {
		if g.Dimension == 0 || g.Dimension >= dimensions {
			continue
		}
		if t.accounts[g.Name] == nil && g.Amount == 0 { // of something that has gone
			continue
		}
		a := t.accountLocked(g.Name)
		a.mu.Lock()
		a.advanceLocked(now)
		a.parts[g.Dimension].grant(g)
		if t.cfg.WithoutRest && a.parts[g.Dimension].used != nil {
			a.parts[g.Dimension].giving = false
		}
		if a.parts[g.Dimension].giving {
			t.giving[a] = struct{}{}
		}
		if a.noteLocked(now, leased) {
			changed = append(changed, a)
		}
		a.mu.Unlock()
	}
	t.applied = seq
	close(t.news)
	t.news = make(chan struct{})
	t.mu.Unlock()
	for _, a := range changed {
		a.tell(true)
	}
}

func (p *part) grant(g Grant) {
	amount := int64(min(g.Amount, mostUsed))
	if g.Dimension.Budget() && g.Window != p.window {
		p.window, p.taken, p.share = g.Window, 0, 0
	}
	p.chunk = max(amount-p.share, 0)
	p.share, p.floor = amount, int64(min(g.Floor, g.Amount))
	p.giving = p.inUse() > p.share
	p.told = -1
}

// Applied waits until the grant update of this number has been applied, and says whether it was before ctx ended.
func (t *Table) Applied(ctx context.Context, seq uint64) bool {
	for {
		t.mu.Lock()
		applied, news := t.applied, t.news
		t.mu.Unlock()
		if applied >= seq {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// holding answers what is held: more than the share as long as something has to be given back.
func (p *part) holding() int64 { return max(p.share, p.inUse()) }

// Report answers up to which update grants have been applied, and what is held of those limits where something is still to be
// given back and where that has become less since it was told.
func (t *Table) Report() (applied uint64, held []Holding) {
	now, _ := t.moment()
	t.mu.Lock()
	defer t.mu.Unlock()
	for a := range t.giving {
		a.mu.Lock()
		a.advanceLocked(now)
		more := false
		for d := Requests; d < dimensions; d++ {
			p := &a.parts[d]
			if !p.giving {
				continue
			}
			if h := p.holding(); h != p.told {
				p.told = h
				held = append(held, a.holdingLocked(d))
			}
			p.giving = p.inUse() > p.share
			more = more || p.giving
		}
		a.mu.Unlock()
		if !more {
			delete(t.giving, a)
		}
	}
	return t.applied, held
}

// Giving says whether something is to be given back.
func (t *Table) Giving() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.giving) > 0
}

func (a *Account) holdingLocked(d Dimension) Holding {
	p := &a.parts[d]
	return Holding{Name: a.name, Dimension: d, Amount: uint64(p.holding()), Floor: uint64(p.floor), Window: p.window}
}

// Holdings answers all that the node holds, for the beginning of a session: the control plane counts from here.
func (t *Table) Holdings() []Holding {
	return t.list(func(p *part) bool { return p.holding() > 0 }, nil)
}

// Spent answers what of the shares is in use or resting, for the end of a session: all the rest is given back with it.
func (t *Table) Spent() []Holding {
	return t.list(func(p *part) bool { return p.inUse() > 0 }, func(p *part) { p.share, p.floor = 0, 0 })
}

func (t *Table) list(wanted func(*part) bool, first func(*part)) []Holding {
	now, _ := t.moment()
	var list []Holding
	for _, a := range t.all() {
		a.mu.Lock()
		a.advanceLocked(now)
		for d := Requests; d < dimensions; d++ {
			p := &a.parts[d]
			if d == Concurrency && p.most == 0 && p.share == 0 { // counted although there is no limit
				continue
			}
			if first != nil {
				first(p)
			}
			if wanted(p) {
				list = append(list, a.holdingLocked(d))
			}
		}
		a.mu.Unlock()
	}
	return list
}
