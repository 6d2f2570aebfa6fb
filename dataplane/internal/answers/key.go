package answers

import (
	"crypto/sha256"
	"encoding/binary"
)

// Question is all that an answer may depend on.
type Question struct {
	Tenant   string   // whose answers it may have; empty: only those of the token itself
	Token    uint64   // the token's id
	Provider string   // its id
	Revision uint64   // the provider's: a changed provider is another one
	Path     string   // as clients ask for it
	Headers  []Header // what else is sent upstream and may change the answer, in a fixed order
	Body     []byte   // JSON
}

// Header is one value of a header.
type Header struct{ Name, Value string }

// Key stands for a question and all that have the same meaning. The zero Key stands for none.
type Key struct {
	provider string
	sum      [sha256.Size]byte
}

// Key answers the question's key; not ok: its answer is not to be kept, because the body is no JSON object, is nested more
// than 64 levels deep, or has so many members that sorting them would cost more than it is worth.
//
// Two bodies have the same key if they differ in nothing but white space, the order of members and how characters are
// escaped. Whatever else could make a difference to somebody makes another key: how a number is written (1, 1.0 and 1e0),
// the order of members with the same name, bytes that are no UTF-8. So does the order of members whose names differ only in
// case, hyphens and underscores, because there are readers that take these for the same name, and the last of them counts.
//
// Tenants and tokens are told apart by more than their names, and every part goes in with its length: no part can be made to
// look like the end of another.
func (q Question) Key() (key Key, ok bool) {
	c := canons.Get().(*canon)
	defer c.giveBack()
	if !c.read(q.Body) {
		return Key{}, false
	}
	if q.Tenant != "" {
		c.putByte('t')
		c.putPart(q.Tenant)
	} else {
		c.putByte('k')
		c.putNumber(q.Token)
	}
	c.putPart(q.Provider)
	c.putNumber(q.Revision)
	c.putPart(q.Path)
	c.putNumber(uint64(len(q.Headers)))
	for _, h := range q.Headers {
		c.putPart(h.Name)
		c.putPart(h.Value)
	}
	c.value()
	c.spill()
	return Key{provider: q.Provider, sum: [sha256.Size]byte(c.hash.Sum(c.sum[:0]))}, true
}

func (c *canon) putPart(s string) {
	c.putNumber(uint64(len(s)))
	for len(s) > 0 { // piece by piece, because a string does not become bytes without a copy
		b := c.room(1)
		n := min(len(s), cap(b)-len(b))
		c.buf, s = append(b, s[:n]...), s[n:]
	}
}

func (c *canon) putNumber(n uint64) { c.buf = binary.BigEndian.AppendUint64(c.room(8), n) }
