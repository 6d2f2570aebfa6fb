// Package load is the clients of a benchmark: connections that ask, check every answer to its last byte, and note how long it
// took. They do it with so little work that the machine is there for the proxy.
//
// A wrong answer ends everything with an error: figures of a proxy that answers wrongly are worth nothing.
package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"ollama-api-pool/test/bench/upstream"
	"ollama-api-pool/test/bench/wire"
)

// Target is who is asked, and with which credential.
type Target struct {
	Addr       string
	Credential string
}

// Ask is a question made ready to be sent.
type Ask struct {
	upstream.Question
	request []byte
}

// NewAsk writes the question as this target's clients send it.
func NewAsk(to Target, q upstream.Question) Ask {
	request := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nUser-Agent: bench\r\n"+
		"Accept: */*\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", to.Addr, to.Credential, len(q.Body), q.Body)
	return Ask{Question: q, request: request}
}

// Result is what came of it.
type Result struct {
	Requests   int
	Events     int
	Elapsed    time.Duration
	Latencies  []time.Duration // of whole answers
	FirstBytes []time.Duration // of their first byte
}

// Crowd is connections to one target. One method at a time may run.
type Crowd struct {
	conns []*conn
}

// dialing is how many connections are made at once: as many as any listener's queue holds.
const dialing = 64

// Dial opens n connections. Those that are to wait for long are given small buffers.
func Dial(ctx context.Context, to Target, n int, waiting bool) (*Crowd, error) {
	buffer := 0
	if waiting {
		buffer = 2 << 10
	}
	c := &Crowd{conns: make([]*conn, n)}
	err := each(ctx, dialing, func(ctx context.Context, first int) error {
		for i := first; i < n; i += dialing {
			var d net.Dialer
			raw, err := d.DialContext(ctx, "tcp", to.Addr)
			if err != nil {
				return err
			}
			c.conns[i] = &conn{Conn: raw, in: wire.NewReader(raw, buffer)}
		}
		return nil
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close closes all connections.
func (c *Crowd) Close() {
	for _, one := range c.conns {
		if one != nil {
			_ = one.Close()
		}
	}
}

// each runs n of them side by side. The first error ends the others' context and is answered when all have returned.
func each(ctx context.Context, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := do(ctx, i); err != nil {
				cancel(err) // only the first counts
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// conn is one connection, which belongs to one goroutine.
type conn struct {
	net.Conn
	in *wire.Reader
}

// patience is how long an answer may make one wait, beyond what it takes by itself. It ends a run that would never end.
const patience = 30 * time.Second

var errOpen = errors.New("all of a stream that stays open")

// send writes the request.
func (c *conn) send(a *Ask) error {
	_, err := c.Write(a.request)
	return err
}

// receive reads an answer and compares it with what it has to be. It answers when the body's first byte was there.
func (c *conn) receive(a *Ask) (first time.Time, err error) {
	head, err := c.in.Head()
	if err != nil {
		return first, fmt.Errorf("no answer: %w", err)
	}
	framing, told, err := wire.FramingOf(head)
	if err != nil || !told {
		return first, errors.Join(wire.ErrFraming, err)
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return first, c.refusal(head, framing)
	}
	got := 0
	err = c.in.Body(framing, func(piece []byte) error {
		if got == 0 {
			first = time.Now()
		}
		rest := a.Answer[got:]
		if len(piece) > len(rest) || !bytes.Equal(piece, rest[:len(piece)]) {
			return fmt.Errorf("another answer than the upstream gave, from about byte %d", got)
		}
		got += len(piece)
		if a.Open && got == len(a.Answer) {
			return errOpen
		}
		return nil
	})
	switch {
	case err == errOpen: //nolint:errorlint // it is answered bare
		return first, nil
	case err != nil:
		return first, err
	case got < len(a.Answer):
		return first, fmt.Errorf("%d bytes of an answer of %d", got, len(a.Answer))
	}
	return first, nil
}

const shown = 200 // bytes of a refusal

func (c *conn) refusal(head []byte, framing wire.Framing) error {
	status, _, _ := bytes.Cut(head, []byte("\r\n"))
	text := string(status)
	var body []byte
	_ = c.in.Body(framing, func(piece []byte) error { // as much of it as comes
		body = append(body, piece[:min(len(piece), shown-len(body))]...)
		if len(body) == shown {
			return io.EOF
		}
		return nil
	})
	return fmt.Errorf("%s: %s", text, body)
}
