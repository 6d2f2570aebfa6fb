package leases

import (
	"slices"
	"strings"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// mark bars a key for one model, while it serves all others. Marks are this node's own and nobody else is told of them: they
// are short, and cost the others one try each. They speak of one generation of the key; immutable.
type mark struct {
	model      string // empty: it bars for nothing, and counts the limits of the key itself
	generation uint64
	until      time.Duration // of the Book's clock
	limited    bool          // by a limit on the rate; otherwise the upstream forbids the model to the key
	row        int           // limits without a hint in a row: kept after the end, until a success
}

const (
	maxMarks     = 16 // of one key; beyond that, the one that ends first goes
	forbiddenFor = 10 * time.Minute
)

// marked answers all marks of the key, those that are over too.
func (k *Key) marked() []mark {
	if m := k.marks.Load(); m != nil {
		return *m
	}
	return nil
}

// mark answers the mark in force that bars this copy of the key for the model; nil: there is none.
func (k *Key) mark(model string, of *leased, now time.Duration) *mark {
	list := k.marked()
	for i := range list {
		if m := &list[i]; m.model == model && m.generation == of.generation && now < m.until {
			return m
		}
	}
	return nil
}

// bar holds a verdict against the key for the attempt's model only.
func (b *Book) bar(l Loan, model string, v provider.Verdict) {
	if model == "" || v.Class != provider.Forbidden && v.Class != provider.RateLimited {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.key.lease.Load().generation != l.of.generation {
		return
	}
	now := b.now()
	next := mark{model: strings.Clone(model), generation: l.of.generation, limited: v.Class == provider.RateLimited}
	old, others := l.key.without(model, l.of.generation)
	wait := v.RetryAfter
	switch {
	case wait <= 0 && old.limited && now < old.until && next.limited: // the same storm, met by another request
		return
	case next.limited && wait <= 0:
		wait, next.row = rateWait(old.row), old.row+1
	case next.limited:
		next.row = old.row
	case wait <= 0:
		wait = forbiddenFor
	}
	if next.until = now + wait; old.until > next.until { // never shorten
		return
	}
	l.key.marks.Store(new(bounded(append(others, next))))
	b.refreshLocked(l.key)
	if next.limited {
		b.barSiblingsLocked(l, next)
	}
}

// barSiblingsLocked has the other keys of the account wait for the model as long: the upstream counts them together.
func (b *Book) barSiblingsLocked(l Loan, m mark) {
	for _, k := range b.siblingsLocked(l.of) {
		if k == l.key {
			continue
		}
		one := mark{model: m.model, generation: k.lease.Load().generation, limited: true, until: m.until}
		old, others := k.without(m.model, one.generation)
		if old.until >= one.until {
			continue
		}
		one.row = old.row
		k.marks.Store(new(bounded(append(others, one))))
		b.refreshLocked(k)
	}
}

// limitedAgainLocked counts a limit of the key itself without a hint, and answers how many there were in a row before.
func (l Loan) limitedAgainLocked() int {
	old, others := l.key.without("", l.of.generation)
	next := mark{generation: l.of.generation, limited: true, row: old.row + 1}
	l.key.marks.Store(new(bounded(append(others, next))))
	return old.row
}

// forgive ends the rows of limits that a success of the key with this model breaks: the model's and the key's own. What is to
// be waited for still is.
func (b *Book) forgive(l Loan, model string) {
	broken := func(m mark) bool {
		return m.row > 0 && m.generation == l.of.generation && (m.model == model || m.model == "")
	}
	if !slices.ContainsFunc(l.key.marked(), broken) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var kept []mark
	for _, m := range l.key.marked() {
		if broken(m) {
			m.row = 0
		}
		if m.row > 0 || b.now() < m.until {
			kept = append(kept, m)
		}
	}
	l.key.marks.Store(new(kept))
	b.refreshLocked(l.key)
}

// without answers the key's mark for the model, and all others of this generation.
func (k *Key) without(model string, generation uint64) (old mark, others []mark) {
	for _, m := range k.marked() {
		switch {
		case m.generation != generation: // void
		case m.model == model:
			old = m
		default:
			others = append(others, m)
		}
	}
	return old, others
}

func bounded(list []mark) []mark {
	if len(list) <= maxMarks {
		return list
	}
	first := 0
	for i, m := range list {
		if m.until < list[first].until {
			first = i
		}
	}
	return slices.Delete(list, first, first+1)
}

// Waits of a limit for which the upstream gives no hint: the first, doubling with each further one in a row.
const (
	firstRateWait = 5 * time.Second
	maxRateWait   = 5 * time.Minute
)

// rateWait answers how long to wait after so many limits in a row before this one; spread, so that a fleet that was limited
// together does not come back together.
func rateWait(row int) time.Duration {
	return min(jitter(min(firstRateWait<<min(row, 10), maxRateWait)), maxRateWait)
}
