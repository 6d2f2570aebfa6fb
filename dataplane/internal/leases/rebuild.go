package leases

import "time"

// Making a rotation anew looks at all keys of a provider. In an import new keys come in many pieces, one right after the other;
// were it made anew for each of them, whatever else comes would wait behind it, revocations too. So in a large pool it rests in
// between. Only new keys, weights and priorities are late by that: what takes a key out or puts it back acts on the rotation
// that there is.
const (
	rebuildRest  = 10                   // times as long as it took
	rebuildShort = 2 * time.Millisecond // what takes no longer needs no rest
	longestRest  = 2 * time.Second
)

// rebuilds paces the making of rotations.
type rebuilds struct {
	next  time.Time   // not before
	timer *time.Timer // makes them then; nil: nothing is due
}

// rebuildLocked makes the rotations anew that have changed, now or soon.
func (b *Book) rebuildLocked() {
	switch wait := time.Until(b.rebuilds.next); {
	case len(b.moved) == 0, b.rebuilds.timer != nil:
	case wait > 0:
		b.rebuilds.timer = time.AfterFunc(wait, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.rebuilds.timer = nil
			b.rebuildNowLocked()
		})
	default:
		b.rebuildNowLocked()
	}
}

func (b *Book) rebuildNowLocked() {
	begin := time.Now()
	b.buildRingsLocked()
	if took := time.Since(begin); took > rebuildShort {
		b.rebuilds.next = time.Now().Add(min(rebuildRest*took, longestRest))
	}
}
