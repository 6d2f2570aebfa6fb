package leases

import (
	"encoding/base32"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// KeyID names an upstream key.
type KeyID uint64

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String answers the id as operators see it at the control plane, k_ and 13 characters; it tells nothing of the secret.
func (id KeyID) String() string {
	return "k_" + idText.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// Key is a leased key. The object is stable for as long as the node holds the key, so that a request that borrowed it can
// look again at any moment; what may change is behind atomics.
type Key struct {
	ID   KeyID
	book *Book

	lease   atomic.Pointer[leased] // what the control plane gave
	state   atomic.Pointer[health] // what is held against it; nil: nothing
	marks   atomic.Pointer[[]mark] // what is held against it for single models; nil: nothing
	loans   atomic.Int32           // out at this moment
	limited atomic.Int32           // 429s without a hint in a row

	// Guarded by the Book's lock.
	tier  *tier         // where it stands in the rotation; nil: not yet, or no more
	turn  int32         // its first there
	place int32         // in wakes, from 1; 0: not there
	wake  time.Duration // when it is to be looked at again; see wakes
}

// leased is a key as the control plane gave it; immutable.
type leased struct {
	revision   uint64
	generation uint64
	enabled    bool
	provider   string
	secret     Secret
	weight     int
	priority   int
	models     []string
	expireTime time.Time
}

// block is why a key may not be used now.
type block uint8

const (
	free    block = iota
	cooling       // ends by itself
	refused       // for this model; ends by itself, but the upstream will hardly think otherwise then
	out           // until told
)

// blocked answers whether and why the key may not be used now, and when a cool-down ends.
func (k *Key) blocked(of *leased, now time.Duration) (why block, until time.Duration) {
	if of.over(k.book) {
		return out, 0
	}
	h := k.state.Load()
	if h == nil || !h.open || !h.speaksOf(of) {
		return free, 0
	}
	if h.until == 0 {
		return out, 0
	}
	if now < h.until {
		return cooling, h.until
	}
	return free, 0
}

// blockedFor is blocked for a request for this model; empty: for no model in particular.
func (k *Key) blockedFor(model string, of *leased, now time.Duration) (why block, until time.Duration) {
	why, until = k.blocked(of, now)
	if why == out || model == "" {
		return why, until
	}
	switch m := k.mark(model, of, now); {
	case m == nil:
		return why, until
	case m.limited:
		return cooling, max(until, m.until)
	default:
		return refused, max(until, m.until)
	}
}

// probeable says whether the key may be probed: whatever is held against it, but not what an operator has taken out of use.
func (k *Key) probeable(b *Book) bool {
	of, h := k.lease.Load(), k.state.Load()
	return !of.over(b) && (h == nil || !h.open || h.reason != admin || !h.speaksOf(of))
}

// over says whether an operator wants this copy used no more, or its life is over.
func (of *leased) over(b *Book) bool {
	return !of.enabled || (!of.expireTime.IsZero() && !b.wall().Before(of.expireTime))
}
