package answers

import (
	"bytes"
	"cmp"
	"slices"

	"ollama-api-pool/dataplane/internal/provider"
)

const (
	maxDepth   = 64
	maxMembers = 64 << 10 // of all objects in a body; real ones have some thousands
	maxNames   = 1 << 20  // bytes of all their names
	keptOrder  = 1 << 10  // larger lists are not kept for the next body
)

// outline is where the members of a body's objects are.
type outline struct {
	body    []byte
	members []member // of all objects, in the order of the text: an object's first member is followed by what is in it
	cursor  int      // the first member that is still ahead
	order   []named  // of the objects that were begun, each sorted
	names   []byte   // folded, of the same members
}

type member struct {
	pos  int // where its name begins
	next int // the next member of the same object; 0: it is the last
}

// named is a member to be sorted.
type named struct {
	from, to int // its folded name in names
	member   int
}

func (o *outline) reset() {
	*o = outline{members: o.members[:0], order: o.order[:0], names: o.names[:0]}
	if cap(o.members) > keptOrder || cap(o.order) > keptOrder || cap(o.names) > 32*keptOrder {
		*o = outline{}
	}
}

// read says whether the body is a JSON object within the bounds. All the rest relies on it.
func (o *outline) read(body []byte) bool {
	if provider.Members(body, maxDepth, func(_, _ []byte) {}) != nil {
		return false
	}
	o.body = body
	var last [maxDepth + 1]int // the last member at each depth and its number plus one; 0: none yet
	depth, names := 0, 0
	for pos := 0; pos < len(body); {
		switch body[pos] {
		case '{', '[':
			depth++
			last[depth] = 0
		case '}', ']':
			depth--
		case '"':
			end := pastText(body, pos)
			if colon := pastSpace(body, end); colon < len(body) && body[colon] == ':' {
				if names += end - pos; len(o.members) == maxMembers || names > maxNames {
					return false
				}
				if last[depth] > 0 {
					o.members[last[depth]-1].next = len(o.members)
				}
				o.members = append(o.members, member{pos: pos})
				last[depth] = len(o.members)
			}
			pos = end
			continue
		}
		pos++
	}
	return true
}

// sortMembers appends the members of the object that begins at pos, and that the cursor has come to, to order and answers from
// where to where. Members whose names fold to the same stay in their order.
func (o *outline) sortMembers(pos int) (first, end int) {
	first = len(o.order)
	if o.body[pastSpace(o.body, pos+1)] == '}' {
		return first, first
	}
	for m := o.cursor; ; m = o.members[m].next {
		from := len(o.names)
		o.names = appendFolded(o.names, inText(o.body, o.members[m].pos))
		o.order = append(o.order, named{from: from, to: len(o.names), member: m})
		if o.members[m].next == 0 {
			break
		}
	}
	slices.SortFunc(o.order[first:], func(a, b named) int {
		return cmp.Or(bytes.Compare(o.names[a.from:a.to], o.names[b.from:b.to]), cmp.Compare(a.member, b.member))
	})
	return first, len(o.order)
}
