package leases

import (
	"context"
	"errors"
	"math"
	"sync"
)

// ErrCut is why a request is cut off: an operator wants nothing to go on with its key, because the key has leaked.
var ErrCut = errors.New("an operator has cut off what was under way with the key")

// Cut is a request's place among those that can be cut off. It is part of the request, so that nothing is allocated for it.
type Cut struct {
	end      context.CancelCauseFunc
	key      KeyID
	revision uint64
	prev     *Cut
	next     *Cut
}

// cuts is the requests under way. Those of one key are in one shard, so that cutting a key off costs what few other keys share,
// and a request next to nothing.
type cuts [64]struct {
	mu    sync.Mutex
	first *Cut
	_     [48]byte
}

// Watch lets the request be cut off from now on: end is called with ErrCut then. Unwatch must follow. false: an operator has
// taken the key out of use since it was lent, and it must not be used any more.
func (l Loan) Watch(c *Cut, end context.CancelCauseFunc) (good bool) {
	c.end, c.key, c.revision = end, l.key.ID, l.of.revision
	shard := &l.key.book.cuts[l.key.ID%KeyID(len(cuts{}))]
	shard.mu.Lock()
	if c.next = shard.first; c.next != nil {
		c.next.prev = c
	}
	shard.first = c
	shard.mu.Unlock()
	return !l.key.forbids(l.of) // looked at after: whoever forbids a key cuts off what is here after that
}

// Unwatch ends it; end is not called any more once it returns.
func (l Loan) Unwatch(c *Cut) {
	shard := &l.key.book.cuts[l.key.ID%KeyID(len(cuts{}))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if c.next != nil {
		c.next.prev = c.prev
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		shard.first = c.next
	}
	c.prev, c.next = nil, nil
}

// cutOff ends what is under way with copies of the key of this revision and older ones.
func (b *Book) cutOff(id KeyID, revision uint64) {
	shard := &b.cuts[id%KeyID(len(cuts{}))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	for c := shard.first; c != nil; c = c.next {
		if c.key == id && c.revision <= revision {
			c.end(ErrCut)
		}
	}
}

const everyRevision = math.MaxUint64

// forbids says whether an operator wants this copy of the key used no more.
func (k *Key) forbids(of *leased) bool {
	h := k.state.Load()
	return !k.lease.Load().enabled || (h != nil && h.open && h.reason == admin && h.speaksOf(of))
}
