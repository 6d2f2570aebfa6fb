package capacity

import (
	"sync"
	"sync/atomic"
	"time"
)

// Account is what this node may use of one key, one account of keys, or one client token, and what it is using. It belongs to
// the name and goes on when the record changes; requests under way are counted out of the account they were counted into.
type Account struct {
	name  Name
	table *Table

	asked       atomic.Uint64 // requests, also those that were refused
	askedTokens atomic.Uint64
	busyUntil   atomic.Int64 // of the table's clock; 0: it has room for a request. See Busy

	mu    sync.Mutex // guards what follows; of one account only, and held for some additions
	hard  bool
	parts [dimensions]part
	start time.Duration // seconds count from here
	rate  rate          // of what is asked; see demand.go
}

// part is one limit of an account.
type part struct {
	most   int64 // what the fleet may use; 0: there is no limit
	share  int64 // what this node may, as it was granted last
	floor  int64
	window uint64  // of a budget
	used   *minute // of a limit by the minute; nil until there is one
	taken  int64   // slots that are taken, or what is spent of a budget
	chunk  int64   // what a budget's share grew by last
	told   int64   // holding that was told last, while there is something to give back; -1: none was
	giving bool    // more is held than the share
}

// Admission is a request that has been counted in. Exactly one of Settle and Refund ends it. The zero value is a request
// that nobody counts.
type Admission struct {
	account    *Account
	second     int64
	rate       int64 // tokens counted in the minute
	tokens     int64 // tokens counted in budgets
	day, month uint64
}

// mostUsed is what one request may count for: what upstreams claim must not overflow a sum.
const mostUsed = 1 << 40

// Name answers whose account it is.
func (a *Account) Name() Name { return a.name }

// Busy answers until when the account has no room for any further request: 0: it has; Never: until something is given back.
func (a *Account) Busy(now time.Duration) time.Duration {
	until := time.Duration(a.busyUntil.Load())
	if until <= now {
		return 0
	}
	return until
}

// Admit counts a request in that is thought to take so many tokens, or tells which limit is in its way; then it has cost
// nothing. Tokens are only known when they are used: more than the share is used by what the requests under way take beyond
// their estimates.
func (a *Account) Admit(estimate uint64) (Admission, Allowance, *Denial) {
	a.asked.Add(1)
	a.askedTokens.Add(min(estimate, mostUsed))
	now, leased := a.table.moment()
	a.mu.Lock()
	second := a.advanceLocked(now)
	in := Admission{account: a, second: second, tokens: int64(min(estimate, mostUsed))}
	in.rate = min(in.tokens, max(a.parts[Tokens].allowed(Tokens, a.hard, leased), 1))
	for d := Requests; d < dimensions; d++ {
		if n, ok := a.fitsLocked(d, in, leased); !ok {
			denied := a.deniedLocked(d, n, now, leased)
			left := a.leftLocked(now, leased)
			a.mu.Unlock()
			return Admission{}, left, denied
		}
	}
	in.day, in.month = a.parts[RequestsDay].window|a.parts[TokensDay].window, a.parts[RequestsMonth].window|a.parts[TokensMonth].window
	a.countLocked(in, +1)
	left := a.leftLocked(now, leased)
	changed := a.noteLocked(now, leased)
	a.mu.Unlock()
	a.tell(changed)
	return in, left, nil
}

// allowed answers how much this node may use. Without a lease a hard limit has its floor only.
func (p *part) allowed(d Dimension, hard, leased bool) int64 {
	if hard && !leased && !d.Budget() {
		return p.floor
	}
	return p.share
}

// inUse answers what is used of the share now.
func (p *part) inUse() int64 {
	if p.used != nil {
		return p.used.sum
	}
	return p.taken
}

// need answers what the request takes of the dimension.
func (in *Admission) need(d Dimension) int64 {
	switch {
	case d == Tokens:
		return in.rate
	case d.ofTokens():
		return in.tokens
	default:
		return 1
	}
}

func (a *Account) fitsLocked(d Dimension, in Admission, leased bool) (need int64, ok bool) {
	p := &a.parts[d]
	need = in.need(d)
	return need, p.most == 0 || p.inUse()+need <= p.allowed(d, a.hard, leased)
}

func (a *Account) deniedLocked(d Dimension, need int64, now time.Duration, leased bool) *Denial {
	p := &a.parts[d]
	denied := &Denial{Limit: d, Most: uint64(p.most), Short: p.share < p.most}
	if p.used != nil && p.allowed(d, a.hard, leased) >= need {
		denied.Wait = a.waitLocked(p, need, p.allowed(d, a.hard, leased), now)
	}
	return denied
}

// waitLocked answers when so much more will fit.
func (a *Account) waitLocked(p *part, need, allowed int64, now time.Duration) time.Duration {
	return a.start + time.Duration(p.used.fits(need, allowed))*time.Second - now
}

// countLocked counts a request in, or, with sign -1, one out that nothing was asked for.
func (a *Account) countLocked(in Admission, sign int64) {
	for d := Requests; d < dimensions; d++ {
		p := &a.parts[d]
		switch need := in.need(d); {
		case d == Concurrency:
			p.taken += sign // also without a limit: one may be set while requests run
		case p.most == 0:
		case p.used != nil && sign > 0:
			p.used.add(in.second, need)
		case p.used != nil:
			p.used.takeBack(in.second, need)
		case in.windowOf(d) == p.window:
			p.taken = max(p.taken+sign*need, 0)
		}
	}
}

func (in *Admission) windowOf(d Dimension) uint64 {
	if d <= TokensDay {
		return in.day
	}
	return in.month
}

// Settle counts the request out, with the tokens that it took.
func (in Admission) Settle(used uint64) {
	in.end(func(a *Account) {
		took := int64(min(used, mostUsed))
		a.parts[Concurrency].taken--
		if p := &a.parts[Tokens]; p.used != nil && took >= in.rate {
			p.used.add(a.parts[Tokens].used.now, took-in.rate)
		} else if p.used != nil {
			p.used.takeBack(in.second, in.rate-took)
		}
		for _, d := range [...]Dimension{TokensDay, TokensMonth} {
			if p := &a.parts[d]; p.most > 0 && in.windowOf(d) == p.window {
				p.taken = max(p.taken+took-in.tokens, 0)
			}
		}
	})
}

// Refund counts out a request that nothing was asked for: it has cost nothing.
func (in Admission) Refund() {
	in.end(func(a *Account) { a.countLocked(in, -1) })
}

func (in Admission) end(how func(*Account)) {
	a := in.account
	if a == nil {
		return
	}
	now, leased := a.table.moment()
	a.mu.Lock()
	a.advanceLocked(now)
	how(a)
	changed := a.noteLocked(now, leased)
	a.mu.Unlock()
	a.tell(changed)
}

func (a *Account) advanceLocked(now time.Duration) int64 {
	second := max(int64((now-a.start)/time.Second), 0)
	for _, d := range [...]Dimension{Requests, Tokens} {
		if p := &a.parts[d]; p.used != nil {
			second = max(second, p.used.now)
			p.used.advance(second)
		}
	}
	return second
}

// noteLocked brings up to date until when the account is busy, and says whether that has changed.
func (a *Account) noteLocked(now time.Duration, leased bool) bool {
	var until time.Duration
	for d := Requests; d < dimensions; d++ {
		p := &a.parts[d]
		allowed := p.allowed(d, a.hard, leased)
		switch {
		case p.most == 0 || p.inUse() < allowed:
		case p.used != nil && allowed > 0:
			until = max(until, now+a.waitLocked(p, 1, allowed, now))
		default:
			until = Never
		}
	}
	return a.busyUntil.Swap(int64(until)) != int64(until)
}

func (a *Account) tell(changed bool) {
	if changed {
		a.table.changed(a)
	}
}

func (a *Account) leftLocked(now time.Duration, leased bool) Allowance {
	left := func(d Dimension) (uint64, time.Duration) {
		p := &a.parts[d]
		if p.used == nil {
			return 0, 0
		}
		all := a.start + time.Duration(p.used.last+p.used.rest)*time.Second - now
		if p.used.sum == 0 {
			all = 0
		}
		return uint64(max(p.allowed(d, a.hard, leased)-p.used.sum, 0)), max(all, 0)
	}
	var l Allowance
	l.Requests, l.RequestsIn = left(Requests)
	l.Tokens, l.TokensIn = left(Tokens)
	return l
}

// limit takes the record's limits. What is in use stays counted.
func (a *Account) limit(l Limits) {
	now, leased := a.table.moment()
	a.mu.Lock()
	a.hard = l.Hard
	for d := Requests; d < dimensions; d++ {
		p := &a.parts[d]
		p.most = int64(min(l.Most[d], mostUsed))
		switch {
		case d > Tokens:
		case p.most > 0 && p.used == nil:
			p.used = newMinute(a.name.Kind, max(int64((now-a.start)/time.Second), 0))
		case p.most == 0:
			p.used = nil
		}
	}
	a.advanceLocked(now)
	a.noteLocked(now, leased)
	a.mu.Unlock()
}
