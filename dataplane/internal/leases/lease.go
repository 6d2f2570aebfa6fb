package leases

import (
	"sync/atomic"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
)

// safety makes the holder's lease end before the grantor's, whatever their clocks' drift.
const safety = 0.99

// lease is how long the node may serve. All times are of the Book's clock; zero: never.
type lease struct {
	until atomic.Int64 // end of the lease
	grace atomic.Int64 // end of the grace
	heard atomic.Int64 // last word from the control plane
	// vouched is when the last message was sent whose answer the control plane gave while the node held all it had to say.
	vouched atomic.Int64
	known   atomic.Bool // the node has been told everything once
	ended   atomic.Bool // it was, and everything was wiped since
}

// renew counts a lease from when its request was sent.
func (l *lease) renew(sent, ttl, grace time.Duration) {
	until := sent + time.Duration(float64(ttl)*safety)
	if int64(until) <= l.until.Load() {
		return
	}
	l.grace.Store(int64(until + grace)) // first: a lease without its grace would pass for over
	l.until.Store(int64(until))
}

func (l *lease) hear(at time.Duration) { l.heard.Store(max(l.heard.Load(), int64(at), 1)) }

// end takes the lease back at once.
func (l *lease) end() {
	l.until.Store(0)
	l.grace.Store(0)
	l.known.Store(false)
	l.ended.Store(true)
}

func (l *lease) check(now time.Duration) error {
	switch {
	case (l.until.Load() == 0 || !l.known.Load()) && l.ended.Load():
		return ErrLeaseOver
	case l.until.Load() == 0 || !l.known.Load():
		return ErrNeverSynced
	case int64(now) < l.grace.Load():
		return nil
	default:
		return ErrLeaseOver
	}
}

// valid says whether the lease itself is in force, not only its grace.
func (l *lease) valid(now time.Duration) bool { return int64(now) < l.until.Load() }

// over says whether there was a lease and it and its grace are over.
func (l *lease) over(now time.Duration) bool {
	return l.until.Load() != 0 && int64(now) >= l.grace.Load()
}

func (l *lease) heardWithin(now, span time.Duration) bool {
	heard := l.heard.Load()
	return heard != 0 && now-time.Duration(heard) < span
}

// renew counts the lease from when its request was sent. Under the lock, so that expire cannot take a lease for over that
// is being renewed.
func (b *Book) renew(sent, ttl, grace time.Duration) {
	b.mu.Lock()
	was := b.lease.valid(b.now())
	b.lease.renew(sent, ttl, grace)
	b.renewed = max(b.renewed, sent)
	b.vouchLocked()
	b.mu.Unlock()
	if !was {
		b.shares.Refresh() // the whole shares may be used again
	}
}

// expire wipes everything if lease and grace are over, and says whether they were.
func (b *Book) expire() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.lease.over(b.now()) {
		return false
	}
	b.wipeLocked()
	return true
}

// wipe forgets everything: the node has been fenced.
func (b *Book) wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wipeLocked()
}

func (b *Book) wipeLocked() {
	b.lease.end()
	for id := range b.keys {
		b.dropKeyLocked(id)
	}
	b.tokens.Keep(func(uint64) bool { return false })
	b.shares.Keep(func(capacity.Name) bool { return false })
	b.rings.Store(&map[string]*ring{})
	clear(b.moved)
	b.queues.Range(func(id, _ any) bool { // so that those who wait hear of it
		b.wakeWaiters(id.(string))
		return true
	})
}
