package leases

import (
	"fmt"
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
)

// Why no key can be borrowed.
const (
	CauseNone      = "none"      // the provider has no keys
	CauseTried     = "tried"     // every key that could serve was tried in this request
	CauseCooling   = "cooling"   // keys wait for a limit or quota to pass, be it of this model only
	CauseOut       = "out"       // keys are disabled, rejected or failing
	CauseForbidden = "forbidden" // the upstream forbids the model to every key that could serve it
	CauseModel     = "model"     // no key may serve the model
)

// NoKeyError tells why no key can be borrowed, and when one will be.
type NoKeyError struct {
	Cause      string        // one of the Cause… constants, the most hopeful that applies
	RetryAfter time.Duration // until the first key is back; 0: not known
}

// Error holds nothing secret.
func (e *NoKeyError) Error() string { return fmt.Sprintf("no key can serve (%s)", e.Cause) }

// missed gathers why keys were passed over.
type missed struct {
	now      time.Duration
	notReady error // why the node may not serve at all

	tried, cooling, forbidden, out, model bool
	crowded                               bool // keys have no room for more at this node

	barred int // keys met that are free, but not for the model
	looked int // keys met altogether

	soon  [soonest]recovery // the first that will be back, the first first
	known int               // how many of them there are

	leastBad   [soonest]*Key // out for soft reasons only; see panic.go
	leastKnown int
}

// recovery is when a key will be back.
type recovery struct {
	at  time.Duration
	key *Key
}

// soonest is more keys than a request can have tried, so that one of them is not.
const soonest = 9

func (m *missed) add(key *Key, why block, until time.Duration) {
	switch why {
	case cooling:
		m.cooling = true
	case refused:
		m.forbidden = true
	default:
		m.out = true
		return
	}
	if h := key.state.Load(); h != nil && h.until == until && h.expected != 0 { // it will be told sooner
		until = h.expected
	}
	m.recovers(recovery{until, key})
}

// slotLook is when a key is looked at again that is free as soon as a request with it ends: whoever ends one wakes those who wait.
const slotLook = time.Second

// full notes a key whose limits have no room for the request.
func (m *missed) full(key *Key, d *capacity.Denial) {
	m.cooling, m.crowded = true, true
	wait := d.Wait
	if wait <= 0 {
		wait = slotLook
	}
	m.recovers(recovery{m.now + wait, key})
}

func (m *missed) recovers(r recovery) {
	if r.at == capacity.Never {
		r.at, m.crowded = m.now+slotLook, true
	}
	at := m.known
	for at > 0 && m.soon[at-1].at > r.at {
		at--
	}
	if at == soonest {
		return
	}
	m.known = min(m.known+1, soonest)
	copy(m.soon[at+1:m.known], m.soon[at:])
	m.soon[at] = r
}

// merge adds what was found out about other keys, whatever they are barred for; here the model is known.
func (m *missed) merge(o *missed, model string) {
	m.tried, m.cooling, m.forbidden = m.tried || o.tried, m.cooling || o.cooling, m.forbidden || o.forbidden
	m.out, m.model, m.crowded = m.out || o.out, m.model || o.model, m.crowded || o.crowded
	for _, k := range o.leastBad[:o.leastKnown] {
		m.least(k)
	}
	for _, r := range o.soon[:o.known] {
		if bar := r.key.mark(model, r.key.lease.Load(), m.now); bar != nil && model != "" {
			r.at = max(r.at, bar.until)
		}
		if r.at <= m.now { // it was expected by now, and is not back
			r.at = m.now + slotLook
		}
		m.recovers(r)
	}
}

// firstBut answers when the first key is back that is none of these; never: none will.
func (m *missed) firstBut(tried []KeyID) time.Duration {
	for _, r := range m.soon[:m.known] {
		if !slices.Contains(tried, r.key.ID) {
			return r.at
		}
	}
	return never
}

func (m *missed) err() error {
	if m.notReady != nil {
		return m.notReady
	}
	e := &NoKeyError{Cause: CauseNone}
	switch {
	case m.cooling:
		e.Cause = CauseCooling
	case m.tried:
		e.Cause = CauseTried
	case m.out:
		e.Cause = CauseOut
	case m.forbidden:
		e.Cause = CauseForbidden
	case m.model:
		e.Cause = CauseModel
	}
	if m.known > 0 {
		e.RetryAfter = max(m.soon[0].at-m.now, 0)
	}
	return e
}
