package origin

import (
	"context"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	failureEvery = 6 * time.Second  // that one may be answered in the long run: ten a minute
	failuresFree = 10               // that are answered at once
	longestWait  = 30 * time.Second // that a failure is held back; that is five of them

	shardCount   = 64
	shardEntries = 1024             // 64 Ki addresses in all
	sweepEvery   = 10 * time.Second // so that failing from many addresses does not cost a search each
)

// Failures counts failed logins by address: ten are answered at once, then ten a minute. It is asked only after a failure,
// so that a valid token is never slowed, whoever else fails behind the same address.
//
// Its memory is bounded: when a shard is full of addresses that have failed within the last minute, all others of the shard
// share one count.
type Failures struct {
	now    func() time.Time
	most   int64 // that are held back at once
	held   atomic.Int64
	ended  chan struct{} // closed by Stop
	stop   sync.Once
	seed   maphash.Seed
	shards [shardCount]shard
}

type shard struct {
	mu    sync.Mutex
	paid  map[netip.Prefix]time.Time // guarded by mu; by when an address has made good all its failures; the zero Prefix is the shared one
	swept time.Time                  // guarded by mu; when paid was last searched for what may be forgotten
}

// NewFailures makes one that holds back at most so many failures at once; 0: none, all beyond ten a minute are refused.
func NewFailures(now func() time.Time, most int) *Failures {
	return &Failures{now: now, most: int64(most), ended: make(chan struct{}), seed: maphash.MakeSeed()}
}

// Answer counts a failed login and returns when it may be answered. That is at once, or after up to 30 s, or when ctx or
// Stop ends the wait. Otherwise the client has to be told to stay away for the time it answers (429 with Retry-After): its
// address has failed too often for that, or too many failures are being held back.
func (f *Failures) Answer(ctx context.Context, addr netip.Addr) (stayAway time.Duration) {
	wait := f.count(Network(addr))
	if wait <= 0 {
		return 0
	}
	if wait > longestWait {
		return wait
	}
	if f.held.Add(1) > f.most {
		f.held.Add(-1)
		return wait
	}
	defer f.held.Add(-1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-f.ended:
	}
	return 0
}

// Held answers how many failures are being held back.
func (f *Failures) Held() int { return int(f.held.Load()) }

// Stop lets go of all that are held back, now and from now on: nobody waits for strangers when the process ends.
func (f *Failures) Stop() { f.stop.Do(func() { close(f.ended) }) }

// count charges an address for a failure, and answers when it is to be answered. One that would wait for too long is not
// charged, so that nobody is kept out for long after the guessing has ended.
func (f *Failures) count(from netip.Prefix) time.Duration {
	now := f.now()
	s := &f.shards[maphash.Comparable(f.seed, from)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	from = s.keyLocked(from, now)
	paid := s.paid[from]
	if paid.Before(now) {
		paid = now
	}
	paid = paid.Add(failureEvery)
	wait := paid.Sub(now) - failuresFree*failureEvery
	if wait <= longestWait {
		if s.paid == nil {
			s.paid = map[netip.Prefix]time.Time{}
		}
		s.paid[from] = paid
	}
	return wait
}

// keyLocked answers under which key an address is counted.
func (s *shard) keyLocked(from netip.Prefix, now time.Time) netip.Prefix {
	if _, known := s.paid[from]; known || len(s.paid) < shardEntries {
		return from
	}
	if now.Sub(s.swept) < sweepEvery {
		return netip.Prefix{}
	}
	s.swept = now
	for k, paid := range s.paid {
		if !paid.After(now) {
			delete(s.paid, k)
		}
	}
	if len(s.paid) < shardEntries {
		return from
	}
	return netip.Prefix{}
}
