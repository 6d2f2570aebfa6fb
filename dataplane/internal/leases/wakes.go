package leases

import (
	"container/heap"
	"math"
	"sync/atomic"
	"time"
)

// wakes is the keys about which something ends by itself, the earliest first: a cool-down, or what is held against a key for one
// model. No timer runs for them: whoever wants a key looks whether any is due, which is one comparison, and puts those that are
// back into their views. Guarded by the Book's lock, but for next.
type wakes struct {
	keys []wake
	next atomic.Int64 // when the first is due; never: there is none
}

type wake struct {
	at  time.Duration
	key *Key
}

const (
	never     = time.Duration(math.MaxInt64)
	wakeBatch = 64 // keys that one request puts back at most, if there is a key for it before

	// A key whose life is over by the calendar is looked at again after this, as a calendar clock may be set back.
	expiredLook = time.Minute
)

// refreshLocked brings every view up to date with what is held against the key now, and notes when that ends by itself. It is
// called after each change of a key's lease, state or marks; nothing else puts a key in or out.
func (b *Book) refreshLocked(k *Key) {
	now, of := b.now(), k.lease.Load()
	b.wakes.plan(k, k.wakeAt(of, now))
	t := k.tier
	if t == nil {
		return
	}
	why, _ := k.blocked(of, now)
	for v := range t.views.all {
		good := why == free
		if good && v.model != "" {
			good = k.mark(v.model, of, now) == nil
		}
		v.put(t, int(k.turn), good)
		v.why.Store(nil)
	}
	if why == free {
		b.wakeWaiters(of.provider)
	}
}

// wakeAt answers when something about the key ends by itself; never: nothing does.
func (k *Key) wakeAt(of *leased, now time.Duration) time.Duration {
	at := never
	switch why, until := k.blocked(of, now); {
	case why == cooling, why == out && until != 0:
		at = until
	case why == out && of.enabled && of.over(k.book):
		at = now + expiredLook
	}
	for _, m := range k.marked() {
		if m.until > now {
			at = min(at, m.until)
		}
	}
	return at
}

// wakeDue puts back the keys that are due, unless somebody else has the lock and may be at it.
func (b *Book) wakeDue(now time.Duration) {
	if int64(now) < b.wakes.next.Load() || !b.mu.TryLock() {
		return
	}
	defer b.mu.Unlock()
	b.wakeDueLocked(now)
}

func (b *Book) wakeDueLocked(now time.Duration) {
	for range wakeBatch {
		if int64(now) < b.wakes.next.Load() {
			return
		}
		b.refreshLocked(b.wakes.keys[0].key)
	}
}

// mend takes a key out of the views that hold it free although it is not: its life has ended.
func (b *Book) mend(k *Key) {
	if b.mu.TryLock() {
		defer b.mu.Unlock()
		b.refreshLocked(k)
	}
}

// plan notes when the key is to be looked at again, instead of what was noted before.
func (w *wakes) plan(k *Key, at time.Duration) {
	switch here := int(k.place) - 1; {
	case at == never && here < 0:
		return
	case at == never:
		heap.Remove(w, here)
	case here < 0:
		heap.Push(w, wake{at, k})
	default:
		w.keys[here].at = at
		heap.Fix(w, here)
	}
	next := never
	if len(w.keys) > 0 {
		next = w.keys[0].at
	}
	w.next.Store(int64(next))
}

// What package heap asks for; a key knows its place.

func (w *wakes) Len() int           { return len(w.keys) }
func (w *wakes) Less(i, j int) bool { return w.keys[i].at < w.keys[j].at }

func (w *wakes) Swap(i, j int) {
	w.keys[i], w.keys[j] = w.keys[j], w.keys[i]
	w.keys[i].key.place, w.keys[j].key.place = int32(i+1), int32(j+1)
}

func (w *wakes) Push(x any) {
	one := x.(wake)
	w.keys = append(w.keys, one)
	one.key.place = int32(len(w.keys))
}

func (w *wakes) Pop() any {
	last := len(w.keys) - 1
	one := w.keys[last]
	one.key.place = 0
	w.keys[last] = wake{}
	w.keys = w.keys[:last]
	return one
}
