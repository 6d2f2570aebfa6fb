package answers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
)

// tree is a JSON value, for tests that write it in many ways. A string is runes, where half a surrogate pair may stand alone
// and a negative number is a byte that is no UTF-8.
type tree struct {
	kind    byte   // '{', '[', '"', or 'w' for a number or a word
	word    string // as it is written
	text    []rune
	names   [][]rune // of an object's members
	members []*tree  // of an object or an array
}

var (
	words   = []string{"0", "-0", "1", "1.0", "1e0", "1E0", "1e+0", "-1.5e-3", "12345678901234567890", "true", "false", "null"}
	letters = []rune{'a', 'b', 'A', '_', '-', '"', '\\', '/', '\n', 0, 0x7f, 'é', 'n', 'u', 0xfffd, 0x1f600, 0xd83d, -0xff, -0xc0, '{', ',', ':', ' '}
)

func someText(rng *rand.Rand) []rune {
	text := make([]rune, rng.IntN(5))
	for i := range text {
		text[i] = letters[rng.IntN(len(letters))]
	}
	return text
}

func someObject(rng *rand.Rand, depth int) *tree {
	t := &tree{kind: '{'}
	for range rng.IntN(5) {
		t.names = append(t.names, someText(rng))
		t.members = append(t.members, someTree(rng, depth-1))
	}
	return t
}

func someTree(rng *rand.Rand, depth int) *tree {
	switch n := rng.IntN(6); {
	case n < 2 && depth > 0:
		return someObject(rng, depth)
	case n < 3 && depth > 0:
		t := &tree{kind: '['}
		for range rng.IntN(4) {
			t.members = append(t.members, someTree(rng, depth-1))
		}
		return t
	case n < 5:
		return &tree{kind: '"', text: someText(rng)}
	default:
		return &tree{kind: 'w', word: words[rng.IntN(len(words))]}
	}
}

func (t *tree) copy() *tree {
	c := *t
	c.text, c.names, c.members = slices.Clone(t.text), slices.Clone(t.names), nil
	for _, m := range t.members {
		c.members = append(c.members, m.copy())
	}
	return &c
}

// all answers the value and all that is in it.
func (t *tree) all() []*tree {
	list := []*tree{t}
	for _, m := range t.members {
		list = append(list, m.all()...)
	}
	return list
}

// group answers what names have in common whose order must be kept.
func group(name []rune) string {
	var s strings.Builder
	for _, r := range name {
		switch {
		case r == '-' || r == '_':
		case r < 0 || r == 0xd83d:
			s.WriteRune(utf8.RuneError)
		default:
			s.WriteString(strings.ToLower(string(r)))
		}
	}
	return s.String()
}

// meaning answers a text that is the same for values with the same meaning and for no others.
func (t *tree) meaning() string {
	switch t.kind {
	case 'w':
		return t.word
	case '"':
		return fmt.Sprint("s", t.text)
	}
	order := make([]int, len(t.members))
	for i := range order {
		order[i] = i
	}
	if t.kind == '{' {
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(group(t.names[a]), group(t.names[b])) })
	}
	var s strings.Builder
	s.WriteByte(t.kind)
	for _, i := range order {
		if t.kind == '{' {
			fmt.Fprint(&s, t.names[i], ":")
		}
		s.WriteString(t.members[i].meaning() + "|")
	}
	return s.String() + "}"
}

// spell writes the value in one of its ways.
func (t *tree) spell(rng *rand.Rand) string {
	var s strings.Builder
	t.write(rng, &s)
	return s.String()
}

func (t *tree) write(rng *rand.Rand, s *strings.Builder) {
	space := func() { s.WriteString([]string{"", "", "", " ", "\n", "\t \r"}[rng.IntN(6)]) }
	space()
	defer space()
	switch t.kind {
	case 'w':
		s.WriteString(t.word)
	case '"':
		spellText(rng, s, t.text)
	case '[':
		s.WriteByte('[')
		for i, m := range t.members {
			if i > 0 {
				s.WriteByte(',')
			}
			m.write(rng, s)
		}
		space()
		s.WriteByte(']')
	case '{':
		s.WriteByte('{')
		for i, m := range t.shuffled(rng) {
			if i > 0 {
				s.WriteByte(',')
			}
			space()
			spellText(rng, s, t.names[m])
			space()
			s.WriteByte(':')
			t.members[m].write(rng, s)
		}
		space()
		s.WriteByte('}')
	}
}

// shuffled answers the members in any order, but for those of one group.
func (t *tree) shuffled(rng *rand.Rand) []int {
	order := rng.Perm(len(t.members))
	places := map[string][]int{}
	for place, m := range order {
		g := group(t.names[m])
		places[g] = append(places[g], place)
	}
	for m, name := range t.names {
		g := group(name)
		order[places[g][0]] = m
		places[g] = places[g][1:]
	}
	return order
}

func spellText(rng *rand.Rand, s *strings.Builder, text []rune) {
	s.WriteByte('"')
	for _, r := range text {
		short := strings.IndexRune("\"\\/\b\f\n\r\t", r)
		plain := r >= ' ' && r != '"' && r != '\\' && (r < 0xd800 || r > 0xdfff)
		switch n := rng.IntN(3); {
		case r < 0:
			s.WriteByte(byte(-r))
		case r >= 0 && short >= 0 && n == 0:
			s.WriteString(`\` + `"\/bfnrt`[short:short+1])
		case plain && n < 2:
			s.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(s, `\u%04x\u%04X`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case n == 1:
			fmt.Fprintf(s, `\u%04X`, r)
		default:
			fmt.Fprintf(s, `\u%04x`, r)
		}
	}
	s.WriteByte('"')
}
