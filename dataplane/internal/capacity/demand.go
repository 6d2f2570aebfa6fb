package capacity

import (
	"sync/atomic"
	"time"
)

// Want is how much of something the node's clients ask for.
type Want struct {
	Name              Name   // of a token, a key or an account; zero for a provider
	Provider          string // empty otherwise
	RequestsPerMinute uint64 // those that were refused for want of capacity included
	TokensPerMinute   uint64
	Short             []Dimension // budgets of which the share is spent, or nearly
}

// asked counts what is asked of a provider's keys.
type asked struct {
	requests atomic.Uint64
	rate     rate // touched by Demand only
}

// Ask counts a request that wants one of the provider's keys.
func (t *Table) Ask(provider string) {
	a, ok := t.providers.Load(provider)
	if !ok {
		a, _ = t.providers.LoadOrStore(provider, &asked{})
	}
	a.(*asked).requests.Add(1)
}

// rate follows what is asked by the minute.
type rate struct {
	requests, tokens float64
	told             uint64 // requests that were told last
}

// follow takes what was asked in so much time, and says whether it differs enough from what was told to be told anew. It looks
// back over some seconds: LLM traffic is uneven, and capacity that moves costs its rest.
func (r *rate) follow(requests, tokens uint64, over time.Duration) bool {
	if over <= 0 {
		return false
	}
	part := min(over.Seconds()/3, 1)
	r.requests += part * (float64(requests)/over.Minutes() - r.requests)
	r.tokens += part * (float64(tokens)/over.Minutes() - r.tokens)
	now, told := r.requests, float64(r.told)
	switch {
	case now < 0.5:
		r.requests = 0
		return r.told > 0
	default:
		return now > told*1.25 || now < told*0.75
	}
}

// Demand answers what is to be told of what was asked since the last call, so long ago.
func (t *Table) Demand(since time.Duration) []Want {
	var wants []Want
	t.providers.Range(func(id, of any) bool {
		p := of.(*asked)
		if p.rate.follow(p.requests.Swap(0), 0, since) {
			p.rate.told = uint64(p.rate.requests)
			wants = append(wants, Want{Provider: id.(string), RequestsPerMinute: p.rate.told})
		}
		return true
	})
	now, _ := t.moment()
	for _, a := range t.all() {
		if w, tell := a.want(now, since); tell {
			wants = append(wants, w)
		}
	}
	return wants
}

func (a *Account) want(now time.Duration, since time.Duration) (Want, bool) {
	requests, tokens := a.asked.Swap(0), a.askedTokens.Swap(0)
	a.mu.Lock()
	defer a.mu.Unlock()
	if requests == 0 && a.rate.requests == 0 && a.rate.told == 0 {
		return Want{}, false
	}
	tell := a.rate.follow(requests, tokens, since)
	a.advanceLocked(now)
	short := a.shortLocked()
	tell = tell || len(short) > 0
	if !tell {
		return Want{}, false
	}
	a.rate.told = uint64(a.rate.requests)
	return Want{
		Name: a.name, RequestsPerMinute: a.rate.told, TokensPerMinute: uint64(a.rate.tokens), Short: short,
	}, true
}

// soonShort is how long a budget's share should last.
const soonShort = 2 * time.Second

// shortLocked answers the budgets of which less is left than the clients ask for in a moment.
func (a *Account) shortLocked() []Dimension {
	var short []Dimension
	for d := RequestsDay; d < dimensions; d++ {
		p := &a.parts[d]
		if p.most == 0 {
			continue
		}
		soon := a.rate.requests
		if d.ofTokens() {
			soon = a.rate.tokens
		}
		if float64(p.share-p.taken) < max(soon*soonShort.Minutes(), float64(p.chunk)/4, 1) {
			short = append(short, d)
		}
	}
	return short
}

// Restart begins a session: updates of the former one count for nothing, and everything is told anew that is asked for, as the
// control plane has forgotten it.
func (t *Table) Restart() {
	t.mu.Lock()
	t.applied = 0
	t.mu.Unlock()
	t.providers.Range(func(_, of any) bool {
		of.(*asked).rate.told = 0
		return true
	})
	for _, a := range t.all() {
		a.mu.Lock()
		a.rate.told = 0
		a.mu.Unlock()
	}
}
