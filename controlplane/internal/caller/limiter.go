package caller

import (
	"net/netip"
	"sync"
	"time"
)

const (
	failuresPerMinute = 10
	maxAddresses      = 4096
	sweepEvery        = 10 * time.Second // so that failing from many addresses does not cost a search each
)

// limiter counts failed logins by address: ten at once, then ten a minute. It is asked only after a failure, so that a
// valid credential is never slowed, whoever else fails behind the same address.
//
// Its memory is bounded: once maxAddresses are remembered, all further ones share one count.
type limiter struct {
	mu     sync.Mutex
	counts map[netip.Prefix]count // guarded by mu; the zero Prefix is the shared one
	swept  time.Time              // guarded by mu; when counts was last searched for what may be forgotten
}

type count struct {
	left float64 // failures that may still happen now
	at   time.Time
}

// fail counts a failure. It answers zero, or how long the address has to wait until a failure is answered again.
func (l *limiter) fail(addr netip.Addr, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.keyLocked(addr, now)
	c, known := l.counts[key]
	c = c.refill(known, now)
	wait := time.Duration(0)
	if c.left >= 1 {
		c.left--
	} else {
		wait = time.Duration((1 - c.left) * float64(time.Minute) / failuresPerMinute)
	}
	if l.counts == nil {
		l.counts = make(map[netip.Prefix]count)
	}
	l.counts[key] = c
	return wait
}

func (c count) refill(known bool, now time.Time) count {
	if !known {
		return count{left: failuresPerMinute, at: now}
	}
	c.left = min(failuresPerMinute, c.left+now.Sub(c.at).Minutes()*failuresPerMinute)
	c.at = now
	return c
}

func (l *limiter) keyLocked(addr netip.Addr, now time.Time) netip.Prefix {
	key := network(addr)
	if _, known := l.counts[key]; known || len(l.counts) < maxAddresses {
		return key
	}
	if now.Sub(l.swept) < sweepEvery {
		return netip.Prefix{}
	}
	l.swept = now
	for k, c := range l.counts {
		if c.refill(true, now).left >= failuresPerMinute {
			delete(l.counts, k)
		}
	}
	if len(l.counts) < maxAddresses {
		return key
	}
	return netip.Prefix{}
}

// network answers what counts as one address: a v4 address, or a v6 /64, which is what one household or machine is given.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for the zero Addr only: those share one count
	return p
}
