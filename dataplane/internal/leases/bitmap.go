package leases

import (
	"math/bits"
	"sync/atomic"
)

// bitmap is a set of small numbers in which the next member is found in a few steps, however many numbers it spans: each bit
// of a level says whether the word of that number in the level below has any. A hundred thousand numbers take three levels.
//
// One writer at a time; readers need no lock. A reader that meets a change half made may miss what is being put in or see
// what is being taken out, as if it had looked a moment earlier.
type bitmap [][]atomic.Uint64

func newBitmap(n int) bitmap {
	var b bitmap
	for {
		n = (n + 63) / 64
		b = append(b, make([]atomic.Uint64, n))
		if n <= 1 {
			return b
		}
	}
}

// put takes i in or out, and says whether that was a change.
func (b bitmap) put(i int, in bool) bool {
	for l, level := range b {
		word, bit := &level[i>>6], uint64(1)<<(i&63)
		was := word.Load()
		if (was&bit != 0) == in {
			return l > 0
		}
		word.Store(was ^ bit)
		if was&^bit != 0 { // the word had others and has them still: nothing changes above
			return true
		}
		i >>= 6
	}
	return true
}

func (b bitmap) has(i int) bool { return b[0][i>>6].Load()&(1<<(i&63)) != 0 }

// next answers the smallest member from this number on, -1: there is none.
func (b bitmap) next(from int) int {
	for l := 0; l < len(b); {
		w := from >> 6
		if w >= len(b[l]) {
			return -1
		}
		word := b[l][w].Load() & (^uint64(0) << (from & 63))
		switch {
		case word == 0: // nothing in the rest of this word: look for the next word that has any
			from = w + 1
			l++
		case l == 0:
			return w<<6 | bits.TrailingZeros64(word)
		default:
			from = (w<<6 | bits.TrailingZeros64(word)) << 6
			l--
		}
	}
	return -1
}
