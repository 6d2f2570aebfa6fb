package provider

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
)

// Why a text is not what Members reads.
var (
	ErrSyntax    = errors.New("malformed JSON")
	ErrNotObject = errors.New("not a JSON object")
	ErrTooDeep   = errors.New("JSON nested too deeply")
)

// Members calls visit with the key and the raw value of each top-level member of the JSON object in data, in order and with
// duplicates. It takes what encoding/json takes, down to maxDepth levels, but neither builds nor copies anything: numbers
// too large for any type and unknown fields of any shape are no matter. On an error some members may have been visited.
func Members(data []byte, maxDepth int, visit func(key, value []byte)) error {
	s := scanner{data: data, left: maxDepth}
	s.space()
	if s.pos < len(data) && data[s.pos] != '{' {
		if err := s.value(); err != nil {
			return err
		}
		if err := s.end(); err != nil {
			return err
		}
		return ErrNotObject
	}
	if err := s.object(visit); err != nil {
		return err
	}
	return s.end()
}

// scanner is a recursive descent over one JSON text; left bounds the recursion.
type scanner struct {
	data []byte
	pos  int
	left int
}

func (s *scanner) end() error {
	s.space()
	if s.pos != len(s.data) {
		return ErrSyntax
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// take consumes c if it is next.
func (s *scanner) take(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) value() error {
	if s.pos >= len(s.data) {
		return ErrSyntax
	}
	switch s.data[s.pos] {
	case '{':
		return s.object(nil)
	case '[':
		return s.array()
	case '"':
		return s.text()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

func (s *scanner) object(visit func(key, value []byte)) error {
	if !s.take('{') {
		return ErrSyntax
	}
	if s.left--; s.left < 0 {
		return ErrTooDeep
	}
	defer func() { s.left++ }()
	s.space()
	if s.take('}') {
		return nil
	}
	for {
		if err := s.member(visit); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(','):
			s.space()
		case s.take('}'):
			return nil
		default:
			return ErrSyntax
		}
	}
}

func (s *scanner) member(visit func(key, value []byte)) error {
	start := s.pos
	if err := s.text(); err != nil {
		return err
	}
	key := s.data[start:s.pos]
	s.space()
	if !s.take(':') {
		return ErrSyntax
	}
	s.space()
	start = s.pos
	if err := s.value(); err != nil {
		return err
	}
	if visit != nil {
		visit(unquoted(key), s.data[start:s.pos])
	}
	return nil
}

func (s *scanner) array() error {
	s.pos++
	if s.left--; s.left < 0 {
		return ErrTooDeep
	}
	defer func() { s.left++ }()
	s.space()
	if s.take(']') {
		return nil
	}
	for {
		if err := s.value(); err != nil {
			return err
		}
		s.space()
		switch {
		case s.take(','):
			s.space()
		case s.take(']'):
			return nil
		default:
			return ErrSyntax
		}
	}
}

// text consumes a string. Long runs of ordinary characters, which is what prompts are made of, are passed eight at a time.
func (s *scanner) text() error {
	if !s.take('"') {
		return ErrSyntax
	}
	for {
		for s.pos+8 <= len(s.data) && ordinary(binary.LittleEndian.Uint64(s.data[s.pos:])) {
			s.pos += 8
		}
		if s.pos >= len(s.data) {
			return ErrSyntax
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return ErrSyntax
		default:
			s.pos++
		}
	}
}

// ordinary says whether none of the eight bytes is a quote, a backslash or a control character.
func ordinary(x uint64) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, slash := x^ones*'"', x^ones*'\\'
	return ((x-ones*' ')&^x|(quote-ones)&^quote|(slash-ones)&^slash)&highs == 0
}

func (s *scanner) escape() error {
	s.pos++
	if s.pos >= len(s.data) {
		return ErrSyntax
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
	default:
		return ErrSyntax
	}
	s.pos++
	for range 4 {
		if s.pos >= len(s.data) || !isHex(s.data[s.pos]) {
			return ErrSyntax
		}
		s.pos++
	}
	return nil
}

func (s *scanner) word(w string) error {
	if len(s.data)-s.pos < len(w) || string(s.data[s.pos:s.pos+len(w)]) != w {
		return ErrSyntax
	}
	s.pos += len(w)
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return ErrSyntax
	}
	if s.take('.') && !s.digits() {
		return ErrSyntax
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > start
}

func isHex(c byte) bool { return c-'0' <= 9 || c-'a' <= 5 || c-'A' <= 5 }

func unquoted(key []byte) []byte {
	if bytes.IndexByte(key, '\\') >= 0 {
		return []byte(Text(key))
	}
	return key[1 : len(key)-1]
}

// Text answers what a raw JSON string says; "" for anything else.
func Text(raw []byte) string {
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	for _, c := range raw {
		if c == '\\' || c >= 0x80 {
			var s string
			if json.Unmarshal(raw, &s) != nil {
				return ""
			}
			return s
		}
	}
	return string(raw[1 : len(raw)-1])
}
