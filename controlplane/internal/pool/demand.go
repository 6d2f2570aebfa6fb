package pool

import (
	"math"
	"time"
)

// demandID names whose clients ask: those of a provider's keys, or those of a token.
type demandID struct {
	provider ProviderID
	token    TokenID
}

// demand is what each node's clients ask for, and the limits that follow it.
type demand struct {
	limits  map[LimitID]struct{}
	rates   map[NodeID]float64 // requests a minute
	tokens  map[NodeID]float64 // tokens a minute
	applied map[NodeID]float64 // the rates that shares follow
	changed bool
	settled time.Time
	next    uint64 // of the limits that an Acquire looks at first
}

func (p *Pool) demandLocked(id demandID) *demand {
	d := p.ledger.demands[id]
	if d == nil {
		d = &demand{
			limits: map[LimitID]struct{}{}, rates: map[NodeID]float64{}, tokens: map[NodeID]float64{}, applied: map[NodeID]float64{},
		}
		p.ledger.demands[id] = d
	}
	return d
}

// Want is how much of something a node's clients ask for.
type Want struct {
	Kind     LimitKind // 0: of a provider's keys
	ID       uint64
	Provider ProviderID
	Requests float64     // a minute
	Tokens   float64     // a minute
	Short    []Dimension // budgets of which the node's share is spent, or nearly
}

// Demand takes what a node's clients ask for. Shares follow with the next Tick; budgets at once.
func (s *Session) Demand(now time.Time, wants []Want) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s {
		return
	}
	for _, w := range wants {
		if d := p.ledger.demands[w.demand()]; d != nil {
			d.rates[s.node.record.ID], d.tokens[s.node.record.ID] = w.Requests, w.Tokens
			d.changed = true
		}
		for _, dimension := range w.Short {
			if l := p.ledger.limits[LimitID{w.Kind, w.ID, dimension}]; l != nil && l.budget != nil {
				l.budget.low[s.node.record.ID] = struct{}{}
				p.settleLocked(now, l)
			}
		}
	}
}

func (w Want) demand() demandID {
	switch w.Kind {
	case 0:
		return demandID{provider: w.Provider}
	case LimitOfToken:
		return demandID{token: TokenID(w.ID)}
	default:
		return demandID{} // keys and accounts ask for budgets only
	}
}

// moveEvery is how often shares follow demand at most: what moves has to rest, so more often would not bring more.
const moveEvery = time.Second

// followLocked lets shares follow the demand that has changed.
func (p *Pool) followLocked(now time.Time) {
	for _, d := range p.ledger.demands {
		if !d.changed || now.Sub(d.settled) < moveEvery {
			continue
		}
		d.changed = false
		if d.apply() {
			d.settled = now
			p.settleAllLocked(now, d)
		}
	}
}

func (p *Pool) settleAllLocked(now time.Time, d *demand) {
	for id := range d.limits {
		p.settleLocked(now, p.ledger.limits[id])
	}
}

// apply takes the rates over if they differ enough from those in force: by a quarter of a node's part, and some of the whole.
func (d *demand) apply() bool {
	var now, was float64
	for _, r := range d.rates {
		now += r
	}
	for _, r := range d.applied {
		was += r
	}
	differs := (now > 0) != (was > 0)
	for id, r := range d.rates {
		part, before := r/max(now, 1), d.applied[id]/max(was, 1)
		differs = differs || math.Abs(part-before) > before/4+0.02
	}
	if !differs {
		return false
	}
	clear(d.applied)
	for id, r := range d.rates {
		if r > 0 {
			d.applied[id] = r
		}
	}
	return true
}

// forgetDemandLocked drops what a node without a session asked for.
func (p *Pool) forgetDemandLocked(id NodeID) {
	for _, d := range p.ledger.demands {
		if _, asked := d.rates[id]; asked {
			delete(d.rates, id)
			delete(d.tokens, id)
			delete(d.applied, id)
			d.changed = true
		}
	}
}
