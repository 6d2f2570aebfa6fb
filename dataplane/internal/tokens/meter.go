package tokens

import (
	"sync"
	"time"
)

// Meter counts what a token is using at this node, and bounds it. It belongs to the token's id and goes on when the token's
// record changes; requests under way are counted out of the meter that they were counted into.
type Meter struct {
	mu       sync.Mutex // guards all; of one token only, and held for some additions
	start    time.Time  // seconds count from here, by a clock that no operator sets
	running  uint64
	requests minute
	tokens   minute
}

// Admission is a request that has been counted in. Exactly one of Settle and Refund ends it. The zero value is a request
// that nobody counts.
type Admission struct {
	meter    *Meter
	second   int64
	estimate int64
}

// Allowance is what is left of a token's limits, as its clients are told.
type Allowance struct {
	Requests, Tokens     uint64        // left
	RequestsIn, TokensIn time.Duration // until everything is left again
}

// Denial tells which limit a request would exceed.
type Denial struct {
	Limit string        // "requests per minute", "tokens per minute" or "requests at the same time"
	Most  uint64        // what it allows
	Wait  time.Duration // until the request would be allowed; 0: that depends on other requests
}

// Admit counts a request in that is thought to take so many tokens, or tells which limit is in its way; then it has cost
// nothing. Over any minute no more requests are let in than the limit says. Tokens are only known when they are used: more
// than the limit by what the requests under way take beyond their estimates, of which none is above the limit.
func (m *Meter) Admit(l Limits, estimate uint64, now time.Time) (Admission, Allowance, *Denial) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.TokensPerMinute > 0 {
		estimate = min(estimate, l.TokensPerMinute)
	}
	second := m.secondLocked(now)
	m.requests.advance(second)
	m.tokens.advance(second)
	if d := m.deniedLocked(l, estimate, now); d != nil {
		return Admission{}, m.leftLocked(l, now), d
	}
	m.running++
	m.requests.add(second, 1)
	m.tokens.add(second, int64(estimate))
	return Admission{meter: m, second: second, estimate: int64(estimate)}, m.leftLocked(l, now), nil
}

func (m *Meter) deniedLocked(l Limits, estimate uint64, now time.Time) *Denial {
	switch {
	case l.MaxConcurrent > 0 && m.running >= l.MaxConcurrent:
		return &Denial{Limit: "requests at the same time", Most: l.MaxConcurrent}
	case l.RequestsPerMinute > 0 && m.requests.sum+1 > int64(l.RequestsPerMinute):
		return &Denial{Limit: "requests per minute", Most: l.RequestsPerMinute, Wait: m.waitLocked(&m.requests, 1, l.RequestsPerMinute, now)}
	case l.TokensPerMinute > 0 && m.tokens.sum+int64(estimate) > int64(l.TokensPerMinute):
		return &Denial{Limit: "tokens per minute", Most: l.TokensPerMinute, Wait: m.waitLocked(&m.tokens, int64(estimate), l.TokensPerMinute, now)}
	default:
		return nil
	}
}

// Settle counts the request out, with the tokens that it took.
func (a Admission) Settle(used uint64, now time.Time) {
	a.end(int64(min(used, mostUsed))-a.estimate, 0, now)
}

// mostUsed is what one request may count for: what upstreams claim must not overflow a minute's sum.
const mostUsed = 1 << 40

// Refund counts out a request that nothing was asked for: it has cost nothing.
func (a Admission) Refund(now time.Time) { a.end(-a.estimate, 1, now) }

func (a Admission) end(tokens, requests int64, now time.Time) {
	m := a.meter
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running--
	second := m.secondLocked(now)
	m.requests.advance(second)
	m.tokens.advance(second)
	m.requests.takeBack(a.second, requests)
	if tokens < 0 {
		m.tokens.takeBack(a.second, -tokens)
		return
	}
	m.tokens.add(second, tokens)
}

func (m *Meter) secondLocked(now time.Time) int64 {
	if m.start.IsZero() {
		m.start = now
	}
	return max(int64(now.Sub(m.start)/time.Second), m.requests.now)
}

// waitLocked answers when n more will fit under the limit.
func (m *Meter) waitLocked(of *minute, n int64, limit uint64, now time.Time) time.Duration {
	return m.start.Add(time.Duration(of.fits(n, int64(limit))) * time.Second).Sub(now)
}

func (m *Meter) leftLocked(l Limits, now time.Time) Allowance {
	left := func(of *minute, limit uint64) (uint64, time.Duration) {
		if of.sum == 0 {
			return limit, 0
		}
		all := m.start.Add(time.Duration(of.last+cells) * time.Second).Sub(now)
		return uint64(max(int64(limit)-of.sum, 0)), max(all, 0)
	}
	var a Allowance
	a.Requests, a.RequestsIn = left(&m.requests, l.RequestsPerMinute)
	a.Tokens, a.TokensIn = left(&m.tokens, l.TokensPerMinute)
	return a
}

// cells is a minute and one second: what is counted in a second that has begun may be of any moment in it.
const cells = 61

// minute counts what happened in the last minute, by the second. No minute holds more than sum at its end.
type minute struct {
	sum  int64
	now  int64 // the newest second
	last int64 // the newest second with anything in it
	cell [cells]int64
}

// advance forgets what is more than a minute ago.
func (m *minute) advance(to int64) {
	for steps := min(to-m.now, cells); steps > 0; steps-- {
		oldest := &m.cell[(to-steps+1)%cells]
		m.sum -= *oldest
		*oldest = 0
	}
	m.now = max(m.now, to)
}

func (m *minute) add(second, n int64) {
	if n == 0 {
		return
	}
	m.cell[second%cells] += n
	m.sum += n
	m.last = second
}

// takeBack undoes a part of what was added in a second, unless that is forgotten already.
func (m *minute) takeBack(second, n int64) {
	if m.now-second >= cells {
		return
	}
	c := &m.cell[second%cells]
	n = min(n, *c)
	*c -= n
	m.sum -= n
}

// fits answers the second in which n more will fit under limit, if nothing else comes.
func (m *minute) fits(n, limit int64) int64 {
	sum := m.sum
	for second := m.now - cells + 1; second <= m.now; second++ {
		if sum+n <= limit {
			return second + cells - 1
		}
		if second >= 0 {
			sum -= m.cell[second%cells]
		}
	}
	return m.now + cells
}
