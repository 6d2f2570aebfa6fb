package leases

import (
	"encoding/base32"
	"encoding/binary"
	"sync/atomic"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/provider"
)

// KeyID names an upstream key.
type KeyID uint64

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// String answers the id as operators see it at the control plane, k_ and 13 characters; it tells nothing of the secret.
func (id KeyID) String() string {
	return "k_" + idText.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(id)))
}

// Key is a leased key. The object is stable for as long as the node holds the key, so that a request that borrowed it can
// look again at any moment; what may change is behind atomics. It fills one cache line, as does its lease: going through a
// hundred thousand of them costs hardly anything but the fetching of these lines.
type Key struct {
	ID   KeyID
	book *Book

	lease atomic.Pointer[leased] // what the control plane gave
	state atomic.Pointer[health] // what is held against it; nil: nothing
	marks atomic.Pointer[[]mark] // what is held against it for single models; nil: nothing
	loans atomic.Int32           // out at this moment

	// Guarded by the Book's lock.
	place int32 // in wakes, from 1; 0: not there
	turn  int32 // its place in its tier
	tier  *tier // nil: not in the rotation yet
}

// leased is a key as the control plane gave it; immutable.
type leased struct {
	revision   uint64
	generation uint64
	expires    int64 // calendar microseconds; 0: never
	secret     Secret
	models     *modelList
	provider   string
	priority   int32
	maxStale   time.Duration // how old the control plane's last word may be; 0: as old as lease and grace let it
	weight     uint8         // 1 to 100
	enabled    bool
	account    *capacity.Account // what counts its use, and its account's; nil: it has no limits and is alone
}

// modelList is what models a key may serve; nil: all. Keys with the same list share it.
type modelList struct{ patterns []string }

func (l *modelList) match(model string) bool {
	return l == nil || provider.MatchModel(l.patterns, model)
}

// block is why a key may not be used now.
type block uint8

const (
	free    block = iota
	cooling       // ends by itself
	refused       // for this model; ends by itself, but the upstream will hardly think otherwise then
	out           // until told
)

// blocked answers whether and why the key may not be lent now, and when that ends by itself; capacity.Never: when a loan ends;
// 0: it does not.
func (k *Key) blocked(of *leased, now time.Duration) (why block, until time.Duration) {
	why, until = k.barred(of, now)
	if why == out || of.account == nil {
		return why, until
	}
	if busy := of.account.Busy(now); busy != 0 {
		return cooling, max(until, busy)
	}
	return why, until
}

// barred is blocked for what is lent already: whether there is room for one more does not matter to it.
func (k *Key) barred(of *leased, now time.Duration) (why block, until time.Duration) {
	if of.over(k.book) || of.stale(k.book, now) {
		return out, 0
	}
	h := k.state.Load()
	if h == nil || !h.open || !h.speaksOf(of) {
		return free, 0
	}
	switch {
	case h.until == 0:
		return out, 0
	case now >= h.until:
		return free, 0
	case h.reason == authRejected: // it will hardly be better then
		return out, h.until
	default:
		return cooling, h.until
	}
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
	case why == free && !m.limited:
		return refused, m.until
	default:
		return cooling, max(until, m.until)
	}
}

// probeable says whether the key may be probed: whatever is held against it, but not what an operator has taken out of use.
func (k *Key) probeable(b *Book) bool {
	of, h := k.lease.Load(), k.state.Load()
	return !of.over(b) && !of.stale(b, b.now()) && (h == nil || !h.open || h.reason != admin || !h.speaksOf(of))
}

// over says whether an operator wants this copy used no more, or its life is over.
func (of *leased) over(b *Book) bool {
	return !of.enabled || (of.expires != 0 && b.wall().UnixMicro() >= of.expires)
}
