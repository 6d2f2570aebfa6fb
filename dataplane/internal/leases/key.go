package leases

import (
	"sync/atomic"
	"time"
)

// KeyID names an upstream key.
type KeyID uint64

// Key is a leased key. The object is stable for as long as the node holds the key, so that a request that borrowed it can
// look again at any moment; what may change is behind atomics.
type Key struct {
	ID KeyID

	lease atomic.Pointer[leased] // what the control plane gave
	state atomic.Pointer[health] // what is held against it
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
