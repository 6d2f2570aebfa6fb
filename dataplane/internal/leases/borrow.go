package leases

import (
	"fmt"
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// Why no key can be borrowed.
const (
	CauseNone    = "none"    // the provider has no keys
	CauseTried   = "tried"   // every key that could serve was tried in this request
	CauseCooling = "cooling" // keys wait for a limit or quota to pass
	CauseOut     = "out"     // keys are disabled, rejected or failing
	CauseModel   = "model"   // no key may serve the model
)

// NoKeyError tells why no key can be borrowed, and when one will be.
type NoKeyError struct {
	Cause      string        // one of the Cause… constants, the most hopeful that applies
	RetryAfter time.Duration // until the first cooling key is back; 0: not known
}

// Error holds nothing secret.
func (e *NoKeyError) Error() string { return fmt.Sprintf("no key can serve (%s)", e.Cause) }

// Loan is a borrowed key for one attempt. It must end in Settle if it was dispatched, in Return if not.
type Loan struct {
	key        *Key
	of         *leased       // as it was when borrowed: a signal speaks of this generation
	probeUntil time.Duration // of the Book's clock; not 0: the loan is for one probe until then
}

// KeyID answers whose loan it is.
func (l Loan) KeyID() KeyID { return l.key.ID }

// Secret answers the key's secret. It goes to the provider's origin and nowhere else.
func (l Loan) Secret() Secret { return l.of.secret }

// Usable looks again, right before the key is used: it may have been disabled, replaced or put out since. A probe's loan
// is usable although the key is out, but only in time, and not against an operator's will.
func (l Loan) Usable() bool {
	if l.of == nil || l.key.lease.Load() != l.of || l.key.book.Ready() != nil {
		return false
	}
	if l.probeUntil != 0 {
		return l.key.book.now() < l.probeUntil && l.key.probeable(l.key.book)
	}
	why, _ := l.key.blocked(l.key.book)
	return why == free
}

// Borrow picks the next key of the provider that may serve the model and was not tried: by priority, then in weighted
// rotation. It does not allocate when a key is found, and takes no lock.
func (b *Book) Borrow(providerID, model string, tried []KeyID) (Loan, error) {
	if err := b.Ready(); err != nil {
		return Loan{}, err
	}
	miss := missed{}
	if r := (*b.rings.Load())[providerID]; r != nil {
		for _, t := range r.tiers {
			if loan, ok := t.borrow(b, model, tried, &miss); ok {
				return loan, nil
			}
		}
	}
	return Loan{}, miss.err(b.now())
}

func (t *tier) borrow(b *Book, model string, tried []KeyID, miss *missed) (Loan, bool) {
	n := uint64(len(t.sequence))
	start := t.hand.Add(1) - 1
	for i := range n {
		k := t.sequence[(start+i)%n]
		of := k.lease.Load()
		switch why, until := k.blocked(b); {
		case why != free:
			miss.add(why, until)
		case !provider.MatchModel(of.models, model):
			miss.model = true
		case slices.Contains(tried, k.ID):
			miss.tried = true
		default:
			if i > 0 { // the next borrower looks behind this key, so that none inherits the turns of those that are out
				t.hand.Add(i)
			}
			return Loan{key: k, of: of}, true
		}
	}
	return Loan{}, false
}

// Return ends a loan that was never dispatched.
func (b *Book) Return(Loan) {}

// missed gathers why keys were passed over.
type missed struct {
	tried, cooling, out, model bool
	first                      time.Duration // end of the first cool-down
}

func (m *missed) add(why block, until time.Duration) {
	if why != cooling {
		m.out = true
		return
	}
	if !m.cooling || until < m.first {
		m.first = until
	}
	m.cooling = true
}

func (m *missed) err(now time.Duration) error {
	e := &NoKeyError{Cause: CauseNone}
	switch {
	case m.cooling:
		e.Cause, e.RetryAfter = CauseCooling, max(m.first-now, 0)
	case m.tried:
		e.Cause = CauseTried
	case m.out:
		e.Cause = CauseOut
	case m.model:
		e.Cause = CauseModel
	}
	return e
}
