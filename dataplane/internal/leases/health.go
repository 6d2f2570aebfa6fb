package leases

import (
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// reason is why a key is out of use; the numbers are those of the wire.
type reason uint8

const (
	authRejected   reason = 1
	quotaExhausted reason = 2
	rateLimited    reason = 3
	serverError    reason = 4
	localError     reason = 5
	recovered      reason = 6
	admin          reason = 7
	timedOut       reason = 8
	brokenAnswer   reason = 9
)

// reasonOf answers what a verdict holds against the key; 0: nothing.
func reasonOf(c provider.Class) reason {
	switch c {
	case provider.AuthRejected:
		return authRejected
	case provider.Quota:
		return quotaExhausted
	case provider.RateLimited:
		return rateLimited
	case provider.ServerError:
		return serverError
	case provider.Timeout:
		return timedOut
	case provider.Broken:
		return brokenAnswer
	default:
		return 0
	}
}

func (r reason) soft() bool    { return r == serverError || r == timedOut || r == brokenAnswer }
func (r reason) waiting() bool { return r == rateLimited || r == quotaExhausted }

// health is what is held against a key; immutable. Whoever meets something acts on it at once and alone (local), and the
// control plane's word for the whole fleet replaces it (told).
type health struct {
	generation uint64 // of the key it speaks of
	revision   uint64 // with reason admin: of the record
	open       bool   // not to be used
	watched    bool   // in use, but the next success is to be signalled
	reason     reason
	until      time.Duration // of the Book's clock; 0: until told
	expected   time.Duration // when it may be told to be over; 0: not known
	local      bool          // this node's own judgement, not confirmed yet
	strikes    int           // soft failures in a row, counted here only while there is no session
}

// speaksOf says whether it holds for this copy of the key: an operator's disable for this revision and older ones, anything
// else for this generation and older ones.
func (h *health) speaksOf(of *leased) bool {
	if h.reason == admin {
		return of.revision <= h.revision
	}
	return of.generation <= h.generation
}

// What this node does by itself until the control plane has spoken; for limits see rateWait. If the control plane is there and says
// nothing, it does not believe this node, whose way to the upstream may be broken (pool/trust.go, pool/spent.go). Then keys are tried
// again soon, or the node would be of no use when its way is mended. With no control plane there rejected keys stay out.
const (
	localQuotaWait    = time.Hour
	doubtedQuotaWait  = 6 * time.Minute // a little more than the control plane may take to believe it
	doubtedRejectWait = 30 * time.Second
)

// judge takes what an attempt showed about the key: acts on it here at once, and signals it.
func (b *Book) judge(l Loan, model string, v provider.Verdict) {
	why := reasonOf(v.Class)
	if v.ModelOnly { // the key is good for other models
		why = 0
	}
	switch {
	case v.ModelOnly:
		b.bar(l, model, v)
	case v.Class == provider.OK:
		b.praise(l)
		b.forgive(l, model)
	case why.waiting():
		b.cool(l, why, v.RetryAfter)
		b.coolSiblings(l)
	case why == authRejected:
		b.reject(l)
	case why.soft():
		b.strike(l, why)
	}
	if why != 0 {
		b.signals.add(signal{key: l.key.ID, generation: l.of.generation, reason: why}, v)
	}
}

// reject takes a key out of use that the upstream does not know.
func (b *Book) reject(l Loan) {
	b.change(l, func(h health) (health, bool) {
		next := health{open: true, reason: authRejected, local: true}
		if b.signals.connected() {
			if next.until = b.now() + doubtedRejectWait; h.open { // a limit that is met already may last longer
				next.until = max(next.until, h.until)
			}
		}
		return next, !h.open || h.until != 0
	})
}

// praise signals the success that ends a row of failures.
func (b *Book) praise(l Loan) {
	h := l.key.state.Load()
	if h == nil || !h.watched || !h.speaksOf(l.of) {
		return
	}
	b.change(l, func(h health) (health, bool) { return health{}, h.watched })
	b.signals.add(signal{key: l.key.ID, generation: l.of.generation, reason: recovered}, provider.Verdict{})
}

// cool waits for as long as the upstream said. A cool-down may lengthen, never shorten. Limits for which the upstream gives no
// hint are waited for longer with each further one; those that come in while the key cools down already are the same storm.
func (b *Book) cool(l Loan, why reason, wait time.Duration) {
	now := b.now()
	b.change(l, func(h health) (health, bool) {
		switch {
		case wait > 0:
		case why == quotaExhausted && b.signals.connected():
			wait = doubtedQuotaWait
		case why == quotaExhausted:
			wait = localQuotaWait
		case h.open && (h.until == 0 || now < h.until):
			return h, false
		default:
			wait = rateWait(l.limitedAgainLocked())
		}
		until := now + wait
		worse := h.open && (h.until == 0 || h.until >= until)
		return health{open: true, reason: why, until: until, local: true, strikes: h.strikes}, !worse
	})
}

// coolSiblings has the other keys of the account wait as long: the upstream counts them together.
func (b *Book) coolSiblings(l Loan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := l.key.state.Load()
	if h == nil || !h.open || h.until == 0 || !h.speaksOf(l.of) {
		return
	}
	for _, k := range b.siblingsLocked(l.of) {
		of, now := k.lease.Load(), k.state.Load()
		if k == l.key || (now != nil && now.open && now.speaksOf(of) && (now.until == 0 || now.until >= h.until)) {
			continue
		}
		k.state.Store(&health{generation: of.generation, open: true, reason: h.reason, until: h.until, local: true})
		b.refreshLocked(k)
	}
}

// strike notes a failure that counts only in a row. The fleet's count is the control plane's; without a session this node
// counts for itself, and puts the key out for a while.
func (b *Book) strike(l Loan, why reason) {
	p, ok := b.Provider(l.of.provider)
	if !ok {
		return
	}
	b.change(l, func(h health) (health, bool) {
		if h.open && b.now() < h.until {
			return h, false
		}
		next := health{watched: true, reason: why, local: true}
		if b.signals.connected() {
			return next, !h.open
		}
		if next.strikes = h.strikes + 1; next.strikes >= max(p.Strikes, 1) {
			next.open, next.until = true, b.now()+p.EjectFor
			next.strikes = max(p.Strikes, 1) - 1 // when it is back, one more failure is enough
		}
		return next, !h.open || h.until != 0
	})
}

// change replaces what is held against the key, unless the loan's copy of it is not the current one any more.
func (b *Book) change(l Loan, next func(health) (health, bool)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of := l.key.lease.Load(); of.generation != l.of.generation {
		return
	}
	var now health
	switch h := l.key.state.Load(); {
	case h == nil:
	case h.generation > l.of.generation: // the loan's is about to be replaced
		return
	case h.speaksOf(l.of):
		now = *h
	}
	if h, ok := next(now); ok {
		h.generation = l.of.generation
		l.key.state.Store(&h)
		b.refreshLocked(l.key)
	}
}
