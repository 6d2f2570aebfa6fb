package proxy

import (
	"bytes"
	"errors"
	"slices"
)

// maxEvent bounds one event of a stream, and so the buffer that it is gathered in: a line of 32 MiB, and what is around it.
const maxEvent = 32<<20 + 64<<10

var errEventTooLarge = errors.New("an event of the stream is too large")

// splitter cuts a stream into events without changing a byte of it: buf holds what has come and was not released yet, and
// next answers one complete event after another, with the blank line that ends it. A comment is complete by itself, as some
// keep connections alive with comments that no blank line follows. Lines may end in LF, CR LF or CR. A CR
// at the end of what has come is taken for a whole line end at once; an LF that follows it is then a line of its own, which
// is no event, and passes with the next one.
type splitter struct {
	buf   []byte
	event int  // where the event being gathered starts
	line  int  // where its current line starts
	pos   int  // what was searched for a line end
	cr    bool // the last line ended in a CR with nothing behind it yet
	lines bool // each line is an event, as in NDJSON
}

// next answers the next complete event; ok is false if more has to come first. The bytes are valid until release.
func (s *splitter) next() (event []byte, ok bool) {
	for s.pos < len(s.buf) {
		if s.cr {
			s.cr = false
			if s.buf[s.pos] == '\n' {
				s.pos++
				s.line = s.pos
				continue
			}
		}
		end, next := lineEnd(s.buf, s.pos)
		if end < 0 {
			s.pos = len(s.buf)
			return nil, false
		}
		whole := s.lines || end == s.line || s.line == s.event && s.buf[s.line] == ':'
		s.cr = s.buf[end] == '\r' && next == end+1 && next == len(s.buf)
		s.line, s.pos = next, next
		if whole {
			event = s.buf[s.event:next]
			s.event = next
			return event, true
		}
	}
	return nil, false
}

// lineEnd finds the first line end at or after from, and where the next line starts; -1: there is none.
func lineEnd(b []byte, from int) (end, next int) {
	lf := bytes.IndexByte(b[from:], '\n')
	upTo := len(b)
	if lf >= 0 {
		upTo = from + lf
	}
	if cr := bytes.IndexByte(b[from:upTo], '\r'); cr >= 0 {
		end = from + cr
		if end+1 < len(b) && b[end+1] == '\n' {
			return end, end + 2
		}
		return end, end + 1
	}
	if lf < 0 {
		return -1, 0
	}
	return upTo, upTo + 1
}

// rest answers what is left when the stream has ended: an event without its blank line, or nothing.
func (s *splitter) rest() []byte { return s.buf[s.event:] }

// release forgets the first n bytes, which must not reach into the event being gathered.
func (s *splitter) release(n int) {
	rest := copy(s.buf, s.buf[n:])
	s.buf = s.buf[:rest]
	s.event -= n
	s.line -= n
	s.pos -= n
}

// room makes space to read into, and answers it.
func (s *splitter) room() ([]byte, error) {
	if len(s.buf) == cap(s.buf) {
		if len(s.buf) >= maxEvent {
			return nil, errEventTooLarge
		}
		grown := make([]byte, len(s.buf), min(2*cap(s.buf)+smallBuf, maxEvent+smallBuf))
		copy(grown, s.buf)
		s.buf = grown
	}
	return s.buf[len(s.buf):cap(s.buf)], nil
}

// eventData answers the data of an event, its data lines joined as the standard has it; has is false for an event without
// any, such as a comment.
func eventData(event []byte) (data []byte, has bool) {
	for len(event) > 0 {
		line := event
		if end, next := lineEnd(event, 0); end >= 0 {
			line, event = event[:end], event[next:]
		} else {
			event = nil
		}
		value, ok := bytes.CutPrefix(line, []byte("data"))
		if !ok || (len(value) > 0 && value[0] != ':') {
			continue
		}
		value = bytes.TrimPrefix(bytes.TrimPrefix(value, []byte(":")), []byte(" "))
		if has {
			data = append(append(slices.Clip(data), '\n'), value...)
		} else {
			data, has = value, true
		}
	}
	return data, has
}

var finishReason = []byte(`"finish_reason"`)

// hasFinishReason says whether an event has a finish_reason that is not null. Inside of content the quotes would be escaped.
func hasFinishReason(event []byte) bool {
	for {
		at := bytes.Index(event, finishReason)
		if at < 0 {
			return false
		}
		event = event[at+len(finishReason):]
		value := bytes.TrimLeft(event, " \t\r\n:")
		if len(value) > 0 && value[0] == '"' {
			return true
		}
	}
}

func isDone(event []byte) bool {
	if !bytes.Contains(event, []byte("[DONE]")) {
		return false
	}
	data, has := eventData(event)
	return has && string(bytes.TrimSpace(data)) == "[DONE]"
}
