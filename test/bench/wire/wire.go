// Package wire reads HTTP/1.1 off a connection with as little work as can be, for the two ends of a benchmark: what they need
// of the machine is not there for the proxy that is measured. It knows what proxies send, and fails on everything else.
package wire

import (
	"bytes"
	"errors"
	"io"
	"strconv"
)

const (
	space   = 16 << 10 // of a reader; a head must fit
	noChunk = -1
)

// What a peer may not send.
var (
	ErrHeadTooLong = errors.New("a head that does not end")
	ErrFraming     = errors.New("a message whose length cannot be told")
	ErrChunk       = errors.New("a chunk that is none")
)

// Reader reads one message after another. It is no more than a buffer and belongs to one goroutine.
type Reader struct {
	from io.Reader
	buf  []byte
	r, w int // buf[r:w] has come and was not consumed
}

// NewReader reads from a connection. The buffer is for those who hold many connections that say little; 0: the usual size.
func NewReader(from io.Reader, buffer int) *Reader {
	if buffer == 0 {
		buffer = space
	}
	return &Reader{from: from, buf: make([]byte, buffer)}
}

// more reads at least one byte, and makes room for it first.
func (r *Reader) more() error {
	switch {
	case r.r == r.w:
		r.r, r.w = 0, 0
	case r.w == len(r.buf):
		if r.r == 0 {
			return ErrHeadTooLong
		}
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	n, err := r.from.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

var blankLine = []byte("\r\n\r\n")

// Head answers the next message's head with its blank line. It is valid until anything else is read. io.EOF: there is no other
// message.
func (r *Reader) Head() ([]byte, error) {
	for {
		if end := bytes.Index(r.buf[r.r:r.w], blankLine); end >= 0 {
			head := r.buf[r.r : r.r+end+len(blankLine)]
			r.r += len(head)
			return head, nil
		}
		if err := r.more(); err != nil {
			if err == io.EOF && r.r < r.w { //nolint:errorlint // Read returns it bare
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// Header answers a header's value, nil if the head has none of that name.
func Header(head []byte, name string) []byte {
	for len(head) > 0 {
		end := bytes.IndexByte(head, '\n')
		if end < 0 {
			return nil
		}
		line := head[:end]
		head = head[end+1:]
		if len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// Framing says how long a message's body is. A request without either header has none; an answer without is not for us.
type Framing struct {
	Length  int
	Chunked bool
}

// FramingOf reads it from a head.
func FramingOf(head []byte) (f Framing, told bool, err error) {
	if v := Header(head, "Transfer-Encoding"); v != nil {
		if !bytes.EqualFold(v, []byte("chunked")) {
			return f, false, ErrFraming
		}
		return Framing{Chunked: true}, true, nil
	}
	v := Header(head, "Content-Length")
	if v == nil {
		return f, false, nil
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 0 {
		return f, false, ErrFraming
	}
	return Framing{Length: n}, true, nil
}

// Body hands the body on, piece by piece as it comes. A piece is valid during the call, whose error ends the reading.
func (r *Reader) Body(f Framing, each func([]byte) error) error {
	if !f.Chunked {
		return r.pieces(f.Length, each)
	}
	for {
		size, err := r.chunkSize()
		if err != nil {
			return err
		}
		if err := r.pieces(size, each); err != nil {
			return err
		}
		if line, err := r.line(); err != nil || len(line) > 0 { // of the last chunk it is the end of no trailers
			return errors.Join(ErrChunk, err)
		}
		if size == 0 {
			return nil
		}
	}
}

func (r *Reader) pieces(n int, each func([]byte) error) error {
	for n > 0 {
		if r.r == r.w {
			if err := r.more(); err != nil {
				return unexpected(err)
			}
		}
		piece := r.buf[r.r:min(r.w, r.r+n)]
		r.r += len(piece)
		n -= len(piece)
		if err := each(piece); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) chunkSize() (int, error) {
	line, err := r.line()
	if err != nil {
		return noChunk, err
	}
	size, err := strconv.ParseUint(string(line), 16, 31)
	if err != nil {
		return noChunk, ErrChunk
	}
	return int(size), nil
}

// line answers the next line without its end.
func (r *Reader) line() ([]byte, error) {
	for {
		if end := bytes.IndexByte(r.buf[r.r:r.w], '\n'); end >= 0 {
			line := r.buf[r.r : r.r+end]
			r.r += end + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err := r.more(); err != nil {
			return nil, unexpected(err)
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // Read returns it bare
		return io.ErrUnexpectedEOF
	}
	return err
}
