package stats

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"
)

const (
	hourSeconds = 3600
	hoursKept   = 48 // the current one and those before it
)

// hourOf answers the hour that a time lies in.
func hourOf(t time.Time) uint32 { return uint32(max(t.Unix(), 0) / hourSeconds) }

// oldestHour answers the first hour that is kept at a time.
func oldestHour(now time.Time) uint32 {
	h := hourOf(now)
	return h - min(h, hoursKept-1)
}

func hourTime(hour uint32) time.Time { return time.Unix(int64(hour)*hourSeconds, 0).UTC() }

// keyHours are the hours of one key, newest first, packed: a hundred thousand busy keys have almost five million of them,
// at 7 bytes each instead of 32.
type keyHours []byte

// hourCell is one hour of a key.
type hourCell struct {
	hour   uint32
	counts [3]uint64 // total, success, failure
}

const maxCell = 4 * binary.MaxVarintLen64

func (c hourCell) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.hour))
	for _, n := range c.counts {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// readCell answers the first cell and its length. The bytes were packed here; they are never foreign.
func readCell(b []byte) (hourCell, int) {
	var c hourCell
	hour, at := binary.Uvarint(b)
	c.hour = uint32(hour)
	for i := range c.counts {
		n, size := binary.Uvarint(b[at:])
		c.counts[i] = n
		at += size
	}
	return c, at
}

// all yields the cells, newest first.
func (h keyHours) all() iter.Seq[hourCell] {
	return func(yield func(hourCell) bool) {
		for len(h) > 0 {
			c, size := readCell(h)
			if !yield(c) {
				return
			}
			h = h[size:]
		}
	}
}

func (h keyHours) at(hour uint32) (hourCell, bool) {
	for c := range h.all() {
		if c.hour <= hour {
			return c, c.hour == hour
		}
	}
	return hourCell{}, false
}

// add adds to an hour and forgets those that are too old beside the newest.
func (h *keyHours) add(d hourCell) {
	at, size := 0, 0
	for at < len(*h) {
		c, n := readCell((*h)[at:])
		if c.hour == d.hour {
			add(d.counts[:], c.counts[:])
			size = n
		}
		if c.hour <= d.hour {
			break
		}
		at += n
	}
	isNew := size == 0
	var buf [maxCell]byte
	*h = slices.Replace(*h, at, at+size, d.appendTo(buf[:0])...)
	if isNew {
		h.trim()
	}
}

func (h *keyHours) trim() {
	newest, at := readCell(*h)
	for at < len(*h) {
		c, n := readCell((*h)[at:])
		if newest.hour-c.hour >= hoursKept {
			*h = (*h)[:at]
			return
		}
		at += n
	}
}
