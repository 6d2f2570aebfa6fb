package answers

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"sync"
	"unicode/utf16"
	"unicode/utf8"
)

const spillAt = 4 << 10

// canon writes a body in its one spelling into a hash. The spelling is JSON itself: white space is left out, members are
// sorted, and in strings only what must be escaped is: quotes, backslashes, control characters, and halves of surrogate
// pairs, which have no other spelling. So it says what the body says, and what says the same is spelt the same.
//
// A body is walked twice: read proves it and notes where members begin; value writes it. Neither takes more time than the body
// is long (but for the sorting), or memory than the bounds in outline.go allow.
type canon struct {
	outline
	pos  int // what is before it has been written
	buf  []byte
	hash hash.Hash
	sum  [sha256.Size]byte
}

var canons = sync.Pool{New: func() any { return &canon{buf: make([]byte, 0, spillAt), hash: sha256.New()} }}

// giveBack keeps nothing of the body alive.
func (c *canon) giveBack() {
	c.outline.reset()
	c.pos, c.buf = 0, c.buf[:0]
	c.hash.Reset()
	canons.Put(c)
}

func (c *canon) put(s []byte) {
	if len(s) > spillAt {
		c.spill()
		c.hash.Write(s)
		return
	}
	c.buf = append(c.room(len(s)), s...)
}

func (c *canon) putByte(b byte) { c.buf = append(c.room(1), b) }

// room answers buf with room for n bytes more, at most spillAt.
func (c *canon) room(n int) []byte {
	if n > cap(c.buf)-len(c.buf) {
		c.spill()
	}
	return c.buf
}

func (c *canon) spill() {
	c.hash.Write(c.buf)
	c.buf = c.buf[:0]
}

// value writes the value at pos, and goes to its end.
func (c *canon) value() {
	c.pos = pastSpace(c.body, c.pos)
	switch c.body[c.pos] {
	case '{':
		c.object()
	case '[':
		c.array()
	case '"':
		c.text()
	default: // a number or a word stays as it is
		end := pastWord(c.body, c.pos)
		c.put(c.body[c.pos:end])
		c.pos = end
	}
}

// object writes the members in their order, which is seldom the order of the text: pos and the outline's cursor jump to each
// of them, and in the end to where the object ends.
func (c *canon) object() {
	first, end := c.sortMembers(c.pos)
	c.putByte('{')
	c.pos++
	endPos, endCursor := c.pos, c.cursor
	for i := first; i < end; i++ {
		if i > first {
			c.putByte(',')
		}
		m := c.order[i].member
		c.pos, c.cursor = c.members[m].pos, m+1
		c.text()
		c.putByte(':')
		c.pos = pastSpace(c.body, c.pos) + len(":")
		c.value()
		if c.pos > endPos {
			endPos, endCursor = c.pos, c.cursor
		}
	}
	c.putByte('}')
	c.pos, c.cursor = pastSpace(c.body, endPos)+len("}"), endCursor
}

func (c *canon) array() {
	c.putByte('[')
	for c.pos = pastSpace(c.body, c.pos+1); c.body[c.pos] != ']'; c.pos = pastSpace(c.body, c.pos) {
		if c.body[c.pos] == ',' {
			c.putByte(',')
			c.pos++
		}
		c.value()
	}
	c.putByte(']')
	c.pos++
}

// text writes a string. What is not escaped, which is most, goes in as it stands.
func (c *canon) text() {
	end := pastText(c.body, c.pos)
	c.putByte('"')
	for rest := c.body[c.pos+1 : end-1]; len(rest) > 0; {
		plain := bytes.IndexByte(rest, '\\')
		if plain < 0 {
			plain = len(rest)
		}
		c.put(rest[:plain])
		if rest = rest[plain:]; len(rest) > 0 {
			r, n := unescape(rest)
			c.putRune(r)
			rest = rest[n:]
		}
	}
	c.putByte('"')
	c.pos = end
}

func (c *canon) putRune(r rune) {
	const digits = "0123456789abcdef"
	b := c.room(len(`\u0000`))
	switch {
	case r == '"' || r == '\\':
		c.buf = append(b, '\\', byte(r))
	case r < ' ' || utf16.IsSurrogate(r):
		c.buf = append(b, '\\', 'u', digits[r>>12], digits[r>>8&15], digits[r>>4&15], digits[r&15])
	default:
		c.buf = utf8.AppendRune(b, r)
	}
}
