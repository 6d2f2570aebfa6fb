package leases

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// maxWaiters is how many requests may wait for the keys of one provider.
const maxWaiters = 10_000

// queue is the requests that wait for a key of one provider, first come first served. Nobody polls: whoever makes a key free
// wakes the queue, as does the end of the first cool-down that anyone waits for. It then serves those it can, in order, and
// sends away those for whom no key will be back in time any more.
type queue struct {
	count atomic.Int32 // of those who wait
	woken atomic.Bool  // since it was last served
	alarm *time.Timer  // serves, in a goroutine of its own that ends with that

	mu      sync.Mutex
	waiting list.List     // of *waiter
	at      time.Duration // what the alarm is set to; never: it is not
}

// waiter is a request that waits. Its channel yields a loan, or is closed without one: then nothing can come in time.
type waiter struct {
	want     Want
	deadline time.Duration
	loan     chan Loan // capacity 1
	over     bool      // out of the queue; guarded by the queue's lock
}

// Wait is Borrow for a request that would rather wait than be refused: if no key is free now but one will be within patience,
// it waits for it; if none will, it answers at once. If ctx ends first, the error is that of ctx.
func (b *Book) Wait(ctx context.Context, w Want, patience time.Duration) (Loan, error) {
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
	first, deadline := miss.firstBut(w.Tried), miss.now+patience
	if first > deadline {
		return Loan{}, miss.err()
	}
	me := &waiter{want: w, deadline: deadline, loan: make(chan Loan, 1)}
	q := b.queueOf(w.Provider)
	place := q.join(b, me, first)
	if place == nil {
		return Loan{}, miss.err()
	}
	late := time.NewTimer(deadline - miss.now)
	defer late.Stop()
	select {
	case l, ok := <-me.loan:
		if ok {
			return l, nil
		}
	case <-late.C:
	case <-ctx.Done():
	}
	if !q.leave(place) { // it may have been served a moment ago
		if l, ok := <-me.loan; ok && ctx.Err() == nil {
			return l, nil
		} else if ok {
			b.Return(l)
		}
	}
	if ctx.Err() != nil {
		return Loan{}, ctx.Err()
	}
	miss = missed{}
	if l, ok := b.take(&w, &miss); ok { // at the last moment
		return l, nil
	}
	return Loan{}, miss.err()
}

func (b *Book) queueOf(providerID string) *queue {
	if q, ok := b.queues.Load(providerID); ok {
		return q.(*queue)
	}
	q := &queue{at: never}
	q.alarm = time.AfterFunc(never, func() { q.serve(b) })
	q.alarm.Stop()
	first, _ := b.queues.LoadOrStore(providerID, q)
	return first.(*queue)
}

// wakeWaiters has the queue served soon, by nobody who holds a lock. A key that waiters may have is in the views by now.
func (b *Book) wakeWaiters(providerID string) {
	found, ok := b.queues.Load(providerID)
	if !ok {
		return
	}
	if q := found.(*queue); q.count.Load() > 0 {
		q.woken.Store(true)
		q.alarm.Reset(0)
	}
}

// join puts the request at the end of the queue; nil: it is full. Keys that became free between the request's look and this are
// not missed: whoever makes one free looks at the count after that, and here the count is made before the second look.
func (q *queue) join(b *Book, w *waiter, first time.Duration) *list.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting.Len() >= maxWaiters {
		return nil
	}
	place := q.waiting.PushBack(w)
	q.count.Add(1)
	var miss missed
	if l, ok := b.take(&w.want, &miss); ok {
		q.endLocked(place)
		w.loan <- l
		return place
	}
	if first < q.at {
		q.setLocked(b, first)
		q.wakeLocked()
	}
	return place
}

// leave takes the request out of the queue, and says whether it was still there.
func (q *queue) leave(place *list.Element) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if place.Value.(*waiter).over {
		return false
	}
	q.endLocked(place)
	if q.waiting.Len() == 0 {
		q.setLocked(nil, never)
	}
	return true
}

func (q *queue) endLocked(place *list.Element) {
	q.waiting.Remove(place)
	place.Value.(*waiter).over = true
	q.count.Add(-1)
}

// serve goes through the queue once. As nothing bounds how many loans a key takes, one free key serves all who may have it.
func (q *queue) serve(b *Book) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.woken.Store(false)
	next := never
	for place := q.waiting.Front(); place != nil; {
		w, here := place.Value.(*waiter), place
		place = place.Next()
		var miss missed
		l, ok := b.take(&w.want, &miss)
		first := miss.firstBut(w.want.Tried)
		switch {
		case ok:
			q.endLocked(here)
			w.loan <- l
		case first > w.deadline:
			q.endLocked(here)
			close(w.loan)
		default:
			next = min(next, first)
		}
	}
	q.setLocked(b, next)
	q.wakeLocked()
}

// wakeLocked has the queue served if it was woken meanwhile: setting the alarm may have undone that.
func (q *queue) wakeLocked() {
	if q.woken.Load() {
		q.alarm.Reset(0)
	}
}

func (q *queue) setLocked(b *Book, at time.Duration) {
	if q.at = at; at == never {
		q.alarm.Stop()
		return
	}
	q.alarm.Reset(max(at-b.now(), 0))
}
