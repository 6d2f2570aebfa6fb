package leases

import (
	"math/rand/v2"
	"slices"
	"time"
)

// When nothing else of a provider is left, keys that are out only because they failed softly (5xx, timeouts, broken answers) serve
// after all: a key that fails now and then is better than none. What an operator or the upstream itself has taken out of use
// never does, nor a key that waits for a limit. The control plane lets at most half of the keys be put out softly; this is for
// when the other half is gone for other reasons.

// soonEnough is how soon another key may be back for a request to rather wait than take one that fails.
const soonEnough = time.Second

// softOut says whether nothing but soft failures are held against the key.
func (k *Key) softOut(model string, of *leased, now time.Duration) bool {
	h := k.state.Load()
	return h != nil && h.open && h.reason.soft() && h.speaksOf(of) && !of.over(k.book) && !of.stale(k.book, now) &&
		(model == "" || k.mark(model, of, now) == nil)
}

// least notes a key that may serve if nothing else does.
func (m *missed) least(k *Key) {
	if m.leastKnown < len(m.leastBad) {
		m.leastBad[m.leastKnown] = k
		m.leastKnown++
	}
}

// lendLeast lends one of the least bad keys, if no other key is back soon.
func (b *Book) lendLeast(w *Want, miss *missed) (Loan, bool) {
	if miss.leastKnown == 0 || miss.firstBut(w.Tried) <= miss.now+soonEnough {
		return Loan{}, false
	}
	from := rand.IntN(miss.leastKnown) //nolint:gosec // spreads load
	for i := range miss.leastKnown {
		k := miss.leastBad[(from+i)%miss.leastKnown]
		of := k.lease.Load()
		if slices.Contains(w.Tried, k.ID) || !of.models.match(w.Model) || !k.softOut(w.Model, of, miss.now) {
			continue
		}
		l := Loan{key: k, of: of, desperate: true}
		if of.account != nil {
			room, _, denied := of.account.Admit(w.Tokens)
			if denied != nil {
				continue
			}
			l.room = room
		}
		return l, true
	}
	return Loan{}, false
}
