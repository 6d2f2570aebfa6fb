package system

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// listener takes connections in memory. grpc's bufconn would do but for its deadlines: one that is taken back may strike
// all the same, and net/http takes one back after every request.
type listener struct {
	come   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener() *listener {
	return &listener{come: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	up, down := newPipe(), newPipe()
	select {
	case l.come <- &end{in: up, out: down}:
		return &end{in: down, out: up}, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.come:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return name{} }

type name struct{}

func (name) Network() string { return "memnet" }
func (name) String() string  { return "memnet" }

// end is one end of a connection.
type end struct{ in, out *pipe }

func (e *end) Read(b []byte) (int, error)  { return e.in.read(b) }
func (e *end) Write(b []byte) (int, error) { return e.out.write(b) }
func (e *end) LocalAddr() net.Addr         { return name{} }
func (e *end) RemoteAddr() net.Addr        { return name{} }

func (e *end) Close() error {
	e.in.set(func(p *pipe) { p.deaf = true })
	e.out.set(func(p *pipe) { p.ended = true })
	return nil
}

func (e *end) SetDeadline(t time.Time) error {
	_ = e.SetReadDeadline(t)
	return e.SetWriteDeadline(t)
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.in.until(t, func(p *pipe) { p.readBy = t })
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.out.until(t, func(p *pipe) { p.writeBy = t })
	return nil
}

// pipe carries bytes one way.
type pipe struct {
	mu              sync.Mutex // guards all below
	changed         *sync.Cond
	held            []byte
	ended, deaf     bool // closed by the writer, by the reader
	readBy, writeBy time.Time
}

const pipeSize = 256 << 10

func newPipe() *pipe {
	p := &pipe{}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) set(change func(*pipe)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
	p.changed.Broadcast()
}

// until has those who wait look again at t; whether t counts still, they see for themselves.
func (p *pipe) until(t time.Time, change func(*pipe)) {
	p.set(change)
	if wait := time.Until(t); !t.IsZero() && wait > 0 {
		time.AfterFunc(wait, func() { p.set(func(*pipe) {}) })
	}
}

func over(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.deaf:
			return 0, net.ErrClosed
		case over(p.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(p.held) > 0:
			n := copy(b, p.held)
			p.held = p.held[n:]
			p.changed.Broadcast()
			return n, nil
		case p.ended:
			return 0, io.EOF
		}
		p.changed.Wait()
	}
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 {
		room := pipeSize - len(p.held)
		switch {
		case p.ended:
			return n, net.ErrClosed
		case p.deaf:
			return n, io.ErrClosedPipe
		case over(p.writeBy):
			return n, os.ErrDeadlineExceeded
		case room == 0:
			p.changed.Wait()
			continue
		}
		room = min(room, len(b))
		p.held = append(p.held, b[:room]...)
		b, n = b[room:], n+room
		p.changed.Broadcast()
	}
	return n, nil
}
