package answers

import (
	"bytes"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions here walk JSON that is known to be sound.

func pastSpace(body []byte, pos int) int {
	for pos < len(body) && (body[pos] == ' ' || body[pos] == '\t' || body[pos] == '\n' || body[pos] == '\r') {
		pos++
	}
	return pos
}

// pastText goes from a string's first quote past its last: the first one that an even number of backslashes is before.
func pastText(body []byte, pos int) int {
	for pos++; ; pos++ {
		pos += bytes.IndexByte(body[pos:], '"')
		slashes := 0
		for body[pos-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return pos + 1
		}
	}
}

// inText answers what is between a string's quotes.
func inText(body []byte, pos int) []byte { return body[pos+1 : pastText(body, pos)-1] }

// pastWord goes to the end of a number, or of true, false and null.
func pastWord(body []byte, pos int) int {
	for pos < len(body) {
		switch body[pos] {
		case ',', ']', '}', ' ', '\t', '\n', '\r':
			return pos
		}
		pos++
	}
	return pos
}

// unescape answers the character that the escape at the beginning of s stands for, and its length. Two that are a surrogate
// pair are one character; half a pair stays half a pair.
func unescape(s []byte) (r rune, n int) {
	switch s[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return rune(s[1]), 2
	}
	r = hex(s[2:6])
	if utf16.IsSurrogate(r) && len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex(s[8:12])); pair != unicode.ReplacementChar {
			return pair, 12
		}
	}
	return r, 6
}

func hex(digits []byte) (r rune) {
	for _, c := range digits {
		if c > '9' {
			c += 9 // the low halves of A to F and a to f are 1 to 6
		}
		r = r<<4 | rune(c&15)
	}
	return r
}

// appendFolded appends what is left of a name for readers who mind neither case nor hyphens and underscores.
func appendFolded(to, s []byte) []byte {
	for len(s) > 0 {
		r, n := rune(s[0]), 1
		switch {
		case r == '\\':
			r, n = unescape(s)
		case r >= utf8.RuneSelf:
			r, n = utf8.DecodeRune(s)
		}
		s = s[n:]
		if r != '-' && r != '_' {
			to = utf8.AppendRune(to, folded(r))
		}
	}
	return to
}

// folded answers the first of all characters that are the same but for case.
func folded(r rune) rune {
	if r < utf8.RuneSelf {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	return first
}
