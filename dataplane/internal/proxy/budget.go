package proxy

import (
	"math"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// retryBudget keeps a failing upstream from being asked several times over: tries beyond a request's first are at most a
// fifth of the requests of the last ten seconds, and ten at least.
type retryBudget struct {
	requests, extras window
}

const (
	retryWindow   = 10 // seconds
	retryShare    = 5  // one extra try for so many requests
	retriesAlways = 10
)

func (b *retryBudget) arrive(now time.Time) { b.requests.add(now) }

// spend takes one extra try if one is left. Concurrent callers may overdraw it by one each, which is no matter.
func (b *retryBudget) spend(now time.Time) bool {
	if b.extras.sum(now) >= max(retriesAlways, b.requests.sum(now)/retryShare) {
		return false
	}
	b.extras.add(now)
	return true
}

// window counts by the second. A cell holds the second it counts for above and the count below.
type window [retryWindow]atomic.Uint64

func (w *window) add(now time.Time) {
	second := uint64(now.Unix()) & math.MaxUint32
	cell := &w[second%retryWindow]
	for {
		old := cell.Load()
		next := second<<32 | 1
		if old>>32 == second {
			next = old + 1
		}
		if cell.CompareAndSwap(old, next) {
			return
		}
	}
}

func (w *window) sum(now time.Time) int {
	second := uint64(now.Unix()) & math.MaxUint32
	n := 0
	for i := range w {
		if v := w[i].Load(); second-v>>32 < retryWindow {
			n += int(v & math.MaxUint32)
		}
	}
	return n
}

// memory bounds what is held in buffers by all requests together.
type memory struct{ free atomic.Int64 }

const (
	memoryForBodies  = 256 << 20
	memoryForAnswers = 64 << 20
)

func newMemory(n int64) *memory {
	m := &memory{}
	m.free.Store(n)
	return m
}

// bodyMemory is 256 MiB, but never more than a quarter of what the process may have.
func bodyMemory() int64 {
	limit := debug.SetMemoryLimit(-1) // only reads it
	return min(memoryForBodies, limit/4)
}

// answerMemory is 64 MiB for answers that are kept, but never more than an eighth of what the process may have.
func answerMemory() int64 { return min(memoryForAnswers, debug.SetMemoryLimit(-1)/8) }

func (m *memory) take(n int64) bool {
	for {
		free := m.free.Load()
		if n > free {
			return false
		}
		if m.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}

func (m *memory) give(n int64) { m.free.Add(n) }

func (w *window) reset() {
	for i := range w {
		w[i].Store(0)
	}
}
