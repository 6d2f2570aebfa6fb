package leases

import (
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
)

// Want is what a request wants of a key.
type Want struct {
	Provider string
	Model    string  // empty: none in particular
	Affinity uint64  // requests of the same affinity go to the same key if it is free and not too busy; 0: none
	Tokens   uint64  // that the request is thought to take
	Tried    []KeyID // not again
}

// Loan is a borrowed key for one attempt. It must end once: in Settle if it was dispatched, in Return if not.
type Loan struct {
	key        *Key
	of         *leased            // as it was when borrowed: a signal speaks of this generation
	from       *loans             // where it is counted out; nil: nowhere
	room       capacity.Admission // what it takes of the key's limits
	probeUntil time.Duration      // of the Book's clock; not 0: the loan is for one probe until then
	entry      uint64             // in the journal; 0: there is none
	desperate  bool               // the key is out, but nothing better is left; see panic.go
}

// KeyID answers whose loan it is.
func (l Loan) KeyID() KeyID { return l.key.ID }

// Secret answers the key's secret. It goes to the provider's origin and nowhere else.
func (l Loan) Secret() Secret { return l.of.secret }

// Usable looks again, right before the key is used: it may have been disabled, replaced or put out since. A probe's loan
// is usable although the key is out, but only in time, and not against an operator's will.
func (l Loan) Usable() bool {
	if l.of == nil || l.key.lease.Load() != l.of {
		return false
	}
	b := l.key.book
	now := b.now()
	if b.lease.check(now) != nil {
		return false
	}
	if l.probeUntil != 0 {
		return now < l.probeUntil && l.key.probeable(b)
	}
	why, _ := l.key.barred(l.of, now)
	return why == free || l.desperate && l.key.softOut("", l.of, now)
}

// end counts the loan as in again.
func (l Loan) end() {
	if l.from != nil {
		l.key.loans.Add(-1)
		l.from.out.Add(-1)
	}
}

// Borrow picks a key of the provider that may serve the model and was not tried: by priority, then by affinity, then in weighted
// rotation. It costs the same however many keys there are and whatever is held against them: it asks the views which keys are
// free, and those about one each. It does not allocate when a key is found, and takes no lock that another request holds, but for
// the record that it makes in the journal, if there is one.
func (b *Book) Borrow(w Want) (Loan, error) {
	if len(w.Tried) == 0 {
		b.shares.Ask(w.Provider)
	}
	var miss missed
	if l, ok := b.take(&w, &miss); ok {
		return l, nil
	}
	if miss.crowded {
		b.askForKeys(w.Provider, w.Tokens)
	}
	return Loan{}, miss.err()
}

// Return ends a loan that was never dispatched: it has cost nothing.
func (b *Book) Return(l Loan) {
	l.end()
	l.room.Refund()
	if b.notes != nil {
		b.notes.ended(l.entry, nil, nil)
	}
}

// take is Borrow; without a key, miss tells why there is none.
func (b *Book) take(w *Want, miss *missed) (Loan, bool) {
	now := b.now()
	if err := b.lease.check(now); err != nil {
		miss.notReady = err
		return Loan{}, false
	}
	b.wakeDue(now)
	for {
		*miss = missed{now: now, looked: miss.looked}
		if l, ok := b.choose(w, miss); ok {
			b.begin(&l, w.Model)
			return l, true
		}
		if int64(now) < b.wakes.next.Load() {
			return Loan{}, false
		}
		b.mu.Lock() // keys are due, and nobody has put them back yet
		b.wakeDueLocked(now)
		b.mu.Unlock()
	}
}

func (b *Book) choose(w *Want, miss *missed) (Loan, bool) {
	r := (*b.rings.Load())[w.Provider]
	if r == nil {
		return Loan{}, false
	}
	for _, t := range r.tiers {
		if l, ok := t.lend(b, t.view(b, w.Model), w, miss); ok {
			return l, true
		}
	}
	for _, t := range r.tiers {
		miss.merge(b.whyNot(t, t.view(b, w.Model), miss.now), w.Model)
	}
	return b.lendLeast(w, miss)
}

func (t *tier) lend(b *Book, v *view, w *Want, miss *missed) (Loan, bool) {
	before := miss.barred
	f, ok := t.pick(v, w, miss)
	if v.model == "" && miss.barred-before >= manyBars {
		if v = b.ownView(t, v, w.Model); !ok {
			f, ok = t.pick(v, w, miss)
		}
	}
	if !ok {
		return Loan{}, false
	}
	f.key.loans.Add(1)
	t.loans.out.Add(1)
	return Loan{key: f.key, of: f.of, room: f.room, from: t.loans}, true
}

// found is a key that a request may have, and has been counted in under.
type found struct {
	key  *Key
	of   *leased
	room capacity.Admission
}

func (t *tier) pick(v *view, w *Want, miss *missed) (found, bool) {
	if w.Affinity != 0 {
		if f, ok := t.kin(v, w, miss); ok {
			return f, true
		}
	}
	for {
		// The next borrower looks behind the key that serves, so that none inherits the turns of those that are out. If another
		// request was faster, this one looks for the next turn.
		turn := v.hand.Load()
		f, skipped, ok := t.good(v, turn, w, miss)
		if !ok || v.hand.CompareAndSwap(turn, turn+skipped+1) {
			return f, ok
		}
		f.room.Refund()
	}
}

// good answers the first key from this turn on that may serve, and how many turns of others lie before its.
func (t *tier) good(v *view, turn uint64, w *Want, miss *missed) (f found, skipped uint64, ok bool) {
	for {
		at, more := t.from(v, turn+skipped)
		if skipped += more; at < 0 || skipped >= t.turns { // none, or the first again
			return found{}, 0, false
		}
		if f, ok = t.ask(at, w, miss); ok {
			return f, skipped, true
		}
		if v.model == "" && miss.barred >= manyBars {
			return found{}, 0, false
		}
		skipped++
	}
}

// ask answers the key of this turn as it is now if the request may have it. The views say which keys are worth asking; what the
// key says itself is what counts.
func (t *tier) ask(turn int, w *Want, miss *missed) (found, bool) {
	miss.looked++
	k := t.keys[turn]
	of := k.lease.Load()
	if of.models != t.lists[t.list[turn]] && !of.models.match(w.Model) { // it has another list since the view was made
		miss.model = true
		return found{}, false
	}
	switch why, until := k.blockedFor(w.Model, of, miss.now); {
	case why != free:
		miss.add(k, why, until)
		if itself, _ := k.blocked(of, miss.now); itself != free {
			k.book.mend(k)
		} else {
			miss.barred++
		}
		return found{}, false
	case slices.Contains(w.Tried, k.ID):
		miss.tried = true
		return found{}, false
	case of.account == nil:
		return found{key: k, of: of}, true
	}
	room, _, denied := of.account.Admit(w.Tokens)
	if denied != nil { // somebody was faster, or it has no room for so many tokens
		miss.full(k, denied)
		return found{}, false
	}
	return found{k, of, room}, true
}
