package fakellm

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	goodKey = "sk-pretend-good-0001"
	ask     = `{"model":"gpt-oss:20b","user":"r1","messages":[{"role":"user","content":"hello there"}]}`
	askSSE  = `{"model":"gpt-oss:20b","user":"r1","stream":true,"messages":[{"role":"user","content":"hello there"}]}`
)

type rig struct {
	t      *testing.T
	up     *Upstream
	url    string
	client *http.Client
}

func newRig(t *testing.T, cfg Config, keys map[string]Behaviour) rig {
	t.Helper()
	up := New(cfg)
	if err := up.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(up)
	t.Cleanup(srv.Close)
	return rig{t, up, srv.URL, srv.Client()}
}

type seen struct {
	status int
	header http.Header
	body   string
	cut    bool // the connection broke: before the headers (status 0) or in the body
}

func (r rig) do(method, path, key, body string, header ...string) seen {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Transport.RoundTrip(req)
	if err != nil {
		return seen{cut: true}
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return seen{resp.StatusCode, resp.Header, string(data), err != nil}
}

func (r rig) chat(key, body string, header ...string) seen {
	r.t.Helper()
	return r.do(http.MethodPost, "/v1/chat/completions", key, body, header...)
}

func (r rig) last() Entry {
	r.t.Helper()
	entries := r.up.Ledger()
	if len(entries) == 0 {
		r.t.Fatal("the ledger is empty")
	}
	return entries[len(entries)-1]
}

// newPipeRig serves over net.Pipe, which a bubble can wait on. The returned
// function ends everything before the bubble does.
func newPipeRig(t *testing.T, cfg Config) (rig, func()) {
	ln := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	up := New(cfg)
	srv := &http.Server{Handler: up}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	transport := &http.Transport{DialContext: ln.dial}
	return rig{t, up, "http://pretend.test", &http.Client{Transport: transport}}, func() {
		transport.CloseIdleConnections()
		_ = srv.Close()
		wg.Wait()
	}
}

// impatient gives up after a minute.
type impatient struct{ http.RoundTripper }

func (i impatient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), time.Minute)
	defer cancel()
	return i.RoundTripper.RoundTrip(req.WithContext(ctx))
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
