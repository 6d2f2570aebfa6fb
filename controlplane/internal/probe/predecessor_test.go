package probe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// wires is a network without sockets, which knows how many of its connections are open.
type wires struct {
	come   chan net.Conn
	closed chan struct{}
	open   atomic.Int64
}

func (w *wires) Accept() (net.Conn, error) {
	select {
	case c := <-w.come:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wires) Close() error   { return nil }
func (w *wires) Addr() net.Addr { return &net.TCPAddr{} }

func (w *wires) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case w.come <- far:
		w.open.Add(1)
		return &wire{Conn: near, gone: sync.OnceFunc(func() { w.open.Add(-1) })}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type wire struct {
	net.Conn
	gone func() // may be called again
}

func (w *wire) Close() error {
	w.gone()
	return w.Conn.Close()
}

// traffic counts what a transport has under way: requests, and answers whose bodies are not closed.
type traffic struct {
	http.RoundTripper
	mu        sync.Mutex // guards the counts
	now, most int
}

func (tr *traffic) add(n int) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.now += n
	tr.most = max(tr.most, tr.now)
}

func (tr *traffic) RoundTrip(r *http.Request) (*http.Response, error) {
	tr.add(1)
	resp, err := tr.RoundTripper.RoundTrip(r)
	if err != nil {
		tr.add(-1)
		return nil, err
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, closed: sync.OnceFunc(func() { tr.add(-1) })}
	return resp, nil
}

type watchedBody struct {
	io.ReadCloser
	closed func() // may be called again
}

func (b *watchedBody) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}

// misbehave is an upstream that answers, refuses, says too much, breaks off or says nothing, in turn.
func misbehave(t *testing.T, asked *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); r.Method != "POST" || r.URL.Path != chatPath || string(body) != "{}" {
			t.Errorf("asked %s %s %s", r.Method, r.URL.Path, body)
		}
		switch n := asked.Add(1); {
		case n%100 == 0: // says nothing
			<-r.Context().Done()
		case n%100 == 1: // says more than anyone wants to read
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write(make([]byte, 1<<20))
			<-r.Context().Done()
		case n%100 == 2: // begins, and says no more
			w.WriteHeader(http.StatusInternalServerError)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case n%100 == 3:
			panic(http.ErrAbortHandler)
		case n%2 == 0:
			w.WriteHeader(http.StatusTooManyRequests)
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}
}

// Ten thousand questions, a hundred askers at a time, leave no goroutine, no connection and no body that is not closed. Each
// is the cheapest one, there are sixteen at a time, and none takes longer than it may.
func TestPredecessor_A12(t *testing.T) {
	const questions, askers = 10_000, 100
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		link := &wires{come: make(chan net.Conn), closed: make(chan struct{})}
		web := &http.Server{Handler: misbehave(t, &asked), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		var serving sync.WaitGroup
		serving.Go(func() { _ = web.Serve(link) })
		p := New(Config{Dial: link.dial})
		of := upstreamAt("http://up", "ollama")
		up, _ := p.upstream(of)
		inner := up.transport.Clone()
		under := &traffic{RoundTripper: inner}
		up.transport.RegisterProtocol("http", under)
		begin := time.Now()

		var mu sync.Mutex
		found := map[Reason]int{}
		var wg sync.WaitGroup
		for a := range askers {
			wg.Go(func() {
				for n := range questions / askers {
					got, err := p.Check(t.Context(), of, pool.NewSecret(fmt.Sprint("key-", a, "-", n)))
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					found[got.Reason]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		p.Close()
		inner.CloseIdleConnections()
		synctest.Wait()

		if asked.Load() != questions || under.most != 16 {
			t.Errorf("%d questions, %d at once", asked.Load(), under.most)
		}
		if under.now != 0 || link.open.Load() != 0 || len(p.slots) != 0 { // a goroutine that is left fails the bubble
			t.Errorf("left: %d bodies, %d connections, %d slots", under.now, link.open.Load(), len(p.slots))
		}
		if found[Timeout] != 2*questions/100 || found[AuthRejected] != questions/100 || found[""] < questions/3 {
			t.Errorf("answers %v", found)
		}
		if took := time.Since(begin); took > 2*questions/100*checkTime {
			t.Errorf("took %v", took)
		}
		close(link.closed)
		_ = web.Close()
		serving.Wait()
	})
}
