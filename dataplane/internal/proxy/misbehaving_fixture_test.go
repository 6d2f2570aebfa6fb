package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// rawUpstream is an upstream on a real socket that says what it likes, HTTP or not. It is the judge of what it was sent: with
// which key, and when.
type rawUpstream struct {
	listener net.Listener
	say      func(c *rawConn)
	talk     func(c net.Conn) // instead of HTTP/1.1; nil: that
	honest   atomic.Bool      // says goodWhole to everyone, and keeps its connections
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	keys  []string // of the calls that were not honestly answered, in order
	late  int      // calls that came when the client had its first byte
	begun chan struct{}
}

// rawConn is one call: the connection it came on, read up to the end of the request.
type rawConn struct {
	net.Conn
	key   string
	begun <-chan struct{} // closed when the client has the answer's headers
}

// write sends pieces as they are, each by itself. An error is the pool's closing the connection, which is its right.
func (c *rawConn) write(pieces ...string) {
	for _, p := range pieces {
		if _, err := io.WriteString(c, p); err != nil {
			return
		}
	}
}

// flood sends the same for ever, until the pool closes the connection.
func (c *rawConn) flood(piece string) {
	block := []byte(strings.Repeat(piece, max(64<<10/len(piece), 1)))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// hang says nothing until the pool closes the connection.
func (c *rawConn) hang() { _, _ = io.Copy(io.Discard, c) }

// reset ends the connection with an RST instead of an end.
func (c *rawConn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func newRawUpstream(t *testing.T, config *tls.Config, say func(c *rawConn)) *rawUpstream {
	t.Helper()
	up := listenRaw(t, config)
	up.say = say
	up.start(t)
	return up
}

// listenRaw makes one that is yet to be told what to say, and to be started.
func listenRaw(t *testing.T, config *tls.Config) *rawUpstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return &rawUpstream{listener: l, conns: map[net.Conn]struct{}{}, begun: make(chan struct{})}
}

func (up *rawUpstream) start(t *testing.T) {
	up.running.Go(up.accept)
	t.Cleanup(up.stop)
}

func (up *rawUpstream) stop() {
	_ = up.listener.Close()
	up.mu.Lock()
	for c := range up.conns {
		_ = c.Close()
	}
	up.mu.Unlock()
	up.running.Wait()
}

func (up *rawUpstream) accept() {
	for {
		c, err := up.listener.Accept()
		if err != nil {
			return
		}
		up.mu.Lock()
		up.conns[c] = struct{}{}
		up.mu.Unlock()
		up.running.Go(func() {
			if up.talk != nil {
				up.talk(c)
			} else {
				up.serve(c)
			}
			_ = c.Close()
			up.mu.Lock()
			delete(up.conns, c)
			up.mu.Unlock()
		})
	}
}

func (up *rawUpstream) serve(c net.Conn) {
	from := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		if _, err = io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if up.honest.Load() {
			if _, err = io.WriteString(c, kept(goodWhole)); err != nil {
				return
			}
			continue
		}
		up.note(keyOf(r))
		up.say(&rawConn{Conn: c, key: keyOf(r), begun: up.begun})
		return
	}
}

func (up *rawUpstream) note(key string) {
	up.mu.Lock()
	defer up.mu.Unlock()
	up.keys = append(up.keys, key)
	select {
	case <-up.begun:
		up.late++
	default:
	}
}

// judge answers how many calls there were, how many of them with a key that had been tried already, and how many after the
// client's first byte.
func (up *rawUpstream) judge() (calls, again, late int) {
	up.mu.Lock()
	defer up.mu.Unlock()
	different := slices.Compact(slices.Sorted(slices.Values(up.keys)))
	return len(up.keys), len(up.keys) - len(different), up.late
}

// whole is an answer as a server sends it that closes the connection behind it, and says so.
func whole(body string, header ...string) string {
	return kept(body, append(header, "Connection: close\r\n")...)
}

// kept is one as a server sends it that keeps the connection.
func kept(body string, header ...string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n" + strings.Join(header, "") + "\r\n" + body
}

// streamHead begins a stream that ends with its connection.
const streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

// beginning tells when the client has the headers of an answer.
type beginning struct {
	*http.Transport
	begun func()
}

func (b *beginning) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		b.begun()
	}
	return resp, err
}

// newRawBench is a bench before such an upstream, with four keys.
func newRawBench(t *testing.T, scheme string, up *rawUpstream) *bench {
	t.Helper()
	b := newBench(t, 4, noCalls(t))
	b.upstreamIs(scheme+"://"+up.listener.Addr().String(), func(*provider.Provider) {})
	b.client.Transport = &beginning{b.client.Transport.(*http.Transport), sync.OnceFunc(func() { close(up.begun) })}
	return b
}

// upstreamIs gives every provider another address, and more by change.
func (b *bench) upstreamIs(base string, change func(p *provider.Provider)) {
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	for id, p := range b.book.providers {
		next := *p
		next.Revision++
		next.BaseURL = base
		change(&next)
		b.book.providers[id] = &next
	}
}

// brief makes the pool lose its patience with an upstream soon.
func brief(p *provider.Provider) {
	p.FirstByteTimeout, p.IdleTimeout = 200*time.Millisecond, 200*time.Millisecond
}

func patient(p *provider.Provider) {
	p.FirstByteTimeout, p.IdleTimeout = 20*time.Second, 20*time.Second
}

// soon waits for what takes a moment to come about; false: it did not.
func soon(what func() bool) bool {
	for range 500 {
		if what() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// noneLeft runs a story as a subtest and then looks for goroutines that outlived it.
func noneLeft(t *testing.T, why string, story func(t *testing.T)) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Run(why, story)
	var after int
	if soon(func() bool { after = runtime.NumGoroutine(); return after <= before }) {
		return
	}
	buf := make([]byte, 1<<20)
	t.Errorf("%s: %d goroutines before and %d after:\n%s", why, before, after, buf[:runtime.Stack(buf, true)])
}
