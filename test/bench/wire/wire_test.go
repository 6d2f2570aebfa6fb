package wire_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"ollama-api-pool/test/bench/wire"
)

// read reads one message's body to its end.
func read(from io.Reader) (head, body string, err error) {
	r := wire.NewReader(from, 64)
	h, err := r.Head()
	if err != nil {
		return "", "", err
	}
	head = string(h)
	framing, _, err := wire.FramingOf(h)
	if err != nil {
		return head, "", err
	}
	var all bytes.Buffer
	err = r.Body(framing, func(piece []byte) error { all.Write(piece); return nil })
	return head, all.String(), err
}

func TestAMessageIsReadHoweverItComes(t *testing.T) {
	const length = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
	hundred := strings.Repeat("0123456789", 10)
	for _, tt := range []struct{ sentence, text, want string }{
		{"A body of a length, longer than the buffer", length + hundred, hundred},
		{"A body in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n4B\r\n" + hundred[:75] + "\r\n0\r\n\r\n", "hello" + hundred[:75]},
		{"No body at all", "GET / HTTP/1.1\r\nHost: here\r\n\r\n", ""},
	} {
		for how, from := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with its end": iotest.DataErrReader,
		} {
			if _, got, err := read(from(strings.NewReader(tt.text))); got != tt.want || err != nil {
				t.Errorf("%s, %s: %q, %v", tt.sentence, how, got, err)
			}
		}
	}
}

func TestMessagesFollowEachOther(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	r := wire.NewReader(strings.NewReader(one+one), 64)
	for range 2 {
		head, err := r.Head()
		if err != nil {
			t.Fatal(err)
		}
		f, _, _ := wire.FramingOf(head)
		if err := r.Body(f, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Head(); err != io.EOF { //nolint:errorlint // it is answered bare
		t.Errorf("after the last: %v", err)
	}
}

func TestWhatIsNoMessageIsFoundOut(t *testing.T) {
	const chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		sentence, text string
		want           error
	}{
		{"A head that is cut", "HTTP/1.1 200 OK\r\n", io.ErrUnexpectedEOF},
		{"A head without end", strings.Repeat("x", 100), wire.ErrHeadTooLong},
		{"A body that is cut", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", io.ErrUnexpectedEOF},
		{"Chunks without the last", chunks + "2\r\nhi\r\n", io.ErrUnexpectedEOF},
		{"A chunk longer than it says", chunks + "2\r\nhiho\r\n0\r\n\r\n", wire.ErrChunk},
		{"A size that is none", chunks + "two\r\nhi\r\n", wire.ErrChunk},
		{"A length that is none", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", wire.ErrFraming},
		{"Another encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", wire.ErrFraming},
	} {
		if _, body, err := read(strings.NewReader(tt.text)); !errors.Is(err, tt.want) {
			t.Errorf("%s: %q, %v; want %v", tt.sentence, body, err, tt.want)
		}
	}
}

func TestAHeaderIsFoundByItsWholeName(t *testing.T) {
	head := []byte("HTTP/1.1 200 OK\r\nX-Length: 1\r\nLENGTH:  7 \r\nLength: 9\r\n\r\n")
	if got := string(wire.Header(head, "Length")); got != "7" {
		t.Errorf("got %q", got)
	}
	if got := wire.Header(head, "Len"); got != nil {
		t.Errorf("a beginning of a name is no name: got %q", got)
	}
}
