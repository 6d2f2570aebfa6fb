package leases

import (
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

// view says which keys of a tier are free for certain models, and where their rotation stands. It is kept up to date under the
// Book's lock whenever something about a key changes: refreshLocked puts each key in or out of all views of its tier. So a view
// is a hint that may be late by a moment, and whoever takes a key from it asks the key itself; but no key is left out for
// longer than what was held against it, as the end of that is a change too (see wakes).
//
// All models that the same lists of models stand for share a view, so that the number of views follows what operators
// have written and not what clients ask for. Only a model that many keys are barred for gets one of its own.
type view struct {
	hand atomic.Uint64 // the next turn
	_    [56]byte

	count atomic.Int32 // of the free keys
	free  bitmap       // of the places in the tier's keys
	near  bitmap       // of the same keys' places on its circle
	lists []byte       // a bit for each of the tier's lists that stands for the models; nil: all do
	model string       // whose marks count; empty: none do
	gone  atomic.Bool  // given up: not kept up to date any more

	why atomic.Pointer[missed] // why keys are not free; nil: not known, or not true any more
}

// views is the views of a tier. Those there can be more of are made when first asked for, and bounded.
type views struct {
	whole  *view                            // whatever the model
	shared atomic.Pointer[map[string]*view] // by lists; replaced whole, under the Book's lock
	own    atomic.Pointer[map[string]*view] // by model; alike
	names  *names                           // nil: all keys may serve all models
}

const (
	maxShared = 64
	maxOwn    = 16
	manyBars  = 16 // keys that a request may meet in vain before its model gets a view of its own
)

func (vs *views) init(t *tier, hand uint64) {
	vs.whole = t.newView(nil, "")
	vs.whole.hand.Store(hand)
	vs.shared.Store(&map[string]*view{})
	vs.own.Store(&map[string]*view{})
	if len(t.lists) > 1 || t.lists[0] != nil {
		vs.names = &names{seed: maphash.MakeSeed()}
	}
}

// newView makes a view in which no key is free yet. Its hand begins anywhere, so that keys do not have more turns than
// others for standing first.
func (t *tier) newView(lists []byte, model string) *view {
	v := &view{free: newBitmap(len(t.keys)), near: newBitmap(len(t.keys)), lists: lists, model: model}
	v.hand.Store(rand.Uint64N(t.turns)) //nolint:gosec // spreads load
	return v
}

// view answers the view for this model; empty: for none in particular.
func (t *tier) view(b *Book, model string) *view {
	if model == "" {
		return t.views.whole
	}
	if own := *t.views.own.Load(); len(own) > 0 {
		if v := own[model]; v != nil {
			return v
		}
	}
	if t.views.names == nil {
		return t.views.whole
	}
	if v := t.views.names.find(model); v != nil {
		return v
	}
	v := t.views.whole
	if lists := t.listsFor(model); lists != nil {
		if v = (*t.views.shared.Load())[string(lists)]; v == nil {
			v = b.share(t, lists)
		}
	}
	t.views.names.note(model, v)
	return v
}

// listsFor answers which of the tier's lists stand for the model; nil: all.
func (t *tier) listsFor(model string) []byte {
	lists, all := make([]byte, (len(t.lists)+7)/8), true
	for i, l := range t.lists {
		if l.match(model) {
			lists[i/8] |= 1 << (i % 8)
		} else {
			all = false
		}
	}
	if all {
		return nil
	}
	return lists
}

// share makes the view for models that these lists stand for.
func (b *Book) share(t *tier, lists []byte) *view {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := (*t.views.shared.Load())[string(lists)]; v != nil {
		return v
	}
	v := t.newView(lists, "")
	b.fillLocked(t, v)
	add(&t.views.shared, string(lists), v, maxShared)
	return v
}

// ownView makes a view for one model, in which the keys that are barred for it are not free. It goes on where the shared one was.
func (b *Book) ownView(t *tier, shared *view, model string) *view {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := (*t.views.own.Load())[model]; v != nil {
		return v
	}
	model = strings.Clone(model) // not to hold on to a whole request
	v := t.newView(shared.lists, model)
	v.hand.Store(shared.hand.Load())
	b.fillLocked(t, v)
	add(&t.views.own, model, v, maxOwn)
	return v
}

// fillLocked brings a new view up to date.
func (b *Book) fillLocked(t *tier, v *view) {
	now := b.now()
	for turn, k := range t.keys {
		why, _ := k.blockedFor(v.model, k.lease.Load(), now)
		v.put(t, turn, why == free)
	}
}

// add adds a view to a map that others read, in the place of any other one if it is full.
func add(to *atomic.Pointer[map[string]*view], name string, v *view, most int) {
	next := maps.Clone(*to.Load())
	for other, old := range next {
		if len(next) < most {
			break
		}
		old.gone.Store(true)
		delete(next, other)
	}
	next[name] = v
	to.Store(&next)
}

// all yields the views that are kept up to date.
func (vs *views) all(yield func(*view) bool) {
	if !yield(vs.whole) {
		return
	}
	for _, m := range [...]map[string]*view{*vs.shared.Load(), *vs.own.Load()} {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// put notes whether nothing is held against the key of this turn. Under the Book's lock.
func (v *view) put(t *tier, turn int, good bool) {
	good = good && v.stands(t, turn)
	if !v.free.put(turn, good) {
		return
	}
	v.near.put(int(t.circle.spots[turn]), good)
	if good {
		v.count.Add(1)
	} else {
		v.count.Add(-1)
	}
}

// stands says whether the list of the key of this turn stands for the view's models.
func (v *view) stands(t *tier, turn int) bool {
	n := t.list[turn]
	return v.lists == nil || v.lists[n/8]&(1<<(n%8)) != 0
}

// whyNot answers why the keys that are not free in this view are not. It looks at all of them, but only once after each change.
func (b *Book) whyNot(t *tier, v *view, now time.Duration) *missed {
	if m := v.why.Load(); m != nil {
		return m
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := v.why.Load(); m != nil {
		return m
	}
	m := &missed{now: now}
	for turn, k := range t.keys {
		switch of := k.lease.Load(); {
		case v.free.has(turn): // the request has met it, or the next one will
		case !v.stands(t, turn):
			m.model = true
		default:
			why, until := k.blockedFor(v.model, of, now)
			if m.add(k, why, until); k.softOut(v.model, of, now) {
				m.least(k)
			}
		}
	}
	v.why.Store(m)
	return m
}

// names remembers the views of models that were asked for: a table of fixed size, in which a name may stand in one of a few
// places and only now and then pushes another one out, so that names that are made up do not push out all others. A name that is
// not there costs a look at all lists, which are few, and nothing more.
type names struct {
	seed  maphash.Seed
	table [256]atomic.Pointer[named]
}

type named struct {
	model string
	view  *view
}

const namePlaces = 4

func (n *names) find(model string) *view {
	h := maphash.String(n.seed, model)
	for i := range uint64(namePlaces) {
		if e := n.table[(h+i)%uint64(len(n.table))].Load(); e != nil && e.model == model && !e.view.gone.Load() {
			return e.view
		}
	}
	return nil
}

func (n *names) note(model string, v *view) {
	h := maphash.String(n.seed, model)
	place := h + rand.Uint64N(8*namePlaces) //nolint:gosec // spreads load
	for i := range uint64(namePlaces) {
		if e := n.table[(h+i)%uint64(len(n.table))].Load(); e == nil || e.view.gone.Load() {
			place = h + i
			break
		}
	}
	if place-h < namePlaces {
		n.table[place%uint64(len(n.table))].Store(&named{strings.Clone(model), v})
	}
}
