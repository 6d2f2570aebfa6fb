package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// Canaries: none of them may be seen anywhere but where it belongs.
const (
	clientToken = "sk-CANARYTOKEN0123456789"
	keyCanary   = "CANARYKEY"
)

// fakeBook lends its keys in order and keeps the books that TestMain-like check at the end of each test looks at.
type fakeBook struct {
	mu        sync.Mutex
	ready     error
	providers map[string]*provider.Provider
	tokens    map[[32]byte]*tokens.Token
	stale     bool
	keys      map[string][]*fakeKey // by provider
	noKey     *leases.NoKeyError    // when none is left; nil: as the cause is
	lent      int
	returned  int
	settled   []settlement
	arrived   int
	served    []leases.Request
	wants     []leases.Want
	patience  []time.Duration
}

type fakeKey struct {
	id       leases.KeyID
	secret   string
	unusable bool

	forbidden bool // since it was lent
	watched   func(cut context.CancelCauseFunc)
}

type settlement struct {
	key leases.KeyID
	leases.Attempt
}

type fakeLoan struct {
	book *fakeBook
	key  *fakeKey
}

func (l fakeLoan) KeyID() leases.KeyID   { return l.key.id }
func (l fakeLoan) Secret() leases.Secret { return leases.NewSecret(l.key.secret) }
func (l fakeLoan) Usable() bool          { return !l.key.unusable }

func (l fakeLoan) Watch(c *leases.Cut, end context.CancelCauseFunc) bool {
	if l.key.watched != nil {
		l.key.watched(end)
	}
	return !l.key.forbidden
}

func (l fakeLoan) Unwatch(*leases.Cut) {}

func (l fakeLoan) Settle(a leases.Attempt) {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.book.settled = append(l.book.settled, settlement{l.key.id, a})
}

func (l fakeLoan) Return() {
	l.book.mu.Lock()
	defer l.book.mu.Unlock()
	l.book.returned++
}

func (b *fakeBook) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

func (b *fakeBook) Provider(id string) (*provider.Provider, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.providers[id]
	return p, ok
}

func (b *fakeBook) Acquire(context.Context, capacity.Name, uint64) bool { return false }

func (b *fakeBook) Token(hash [32]byte) (*tokens.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.tokens[hash]; ok {
		return t, nil
	}
	if b.stale {
		return nil, leases.ErrDirectoryStale
	}
	return nil, leases.ErrUnknownToken
}

func (b *fakeBook) Arrive(uint64) (entry uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived++
	return 0
}

func (b *fakeBook) Served(r leases.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.served = append(b.served, r)
}

func (b *fakeBook) lend(_ context.Context, w leases.Want, patience time.Duration) (loan, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wants = append(b.wants, w)
	b.patience = append(b.patience, patience)
	for _, k := range b.keys[w.Provider] {
		if !slices.Contains(w.Tried, k.id) {
			b.lent++
			return fakeLoan{b, k}, nil
		}
	}
	if b.noKey != nil {
		return nil, b.noKey
	}
	if len(b.keys[w.Provider]) == 0 {
		return nil, &leases.NoKeyError{Cause: leases.CauseNone}
	}
	return nil, &leases.NoKeyError{Cause: leases.CauseTried}
}

// classes are the verdicts as they were settled.
func (b *fakeBook) classes() []provider.Class {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []provider.Class
	for _, s := range b.settled {
		all = append(all, s.Verdict.Class)
	}
	return all
}

// balanced checks that every loan ended once and every request that came in went out.
func (b *fakeBook) balanced(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lent != b.returned+len(b.settled) {
		t.Errorf("%d loans, %d returned and %d settled", b.lent, b.returned, len(b.settled))
	}
	if b.arrived != len(b.served) {
		t.Errorf("%d requests arrived and %d were served", b.arrived, len(b.served))
	}
}

func (b *fakeBook) ends() []leases.End {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []leases.End
	for _, s := range b.served {
		all = append(all, s.End)
	}
	return all
}

// bench is a proxy with a fake book behind it and everything it may say kept.
type bench struct {
	t        *testing.T
	book     *fakeBook
	proxy    *Proxy
	registry *prometheus.Registry
	log      *lockedBuffer
	url      string
	client   *http.Client
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newFakeBook(upstream string, keys int) *fakeBook {
	b := &fakeBook{
		providers: map[string]*provider.Provider{}, keys: map[string][]*fakeKey{},
		tokens: map[[32]byte]*tokens.Token{tokens.Digest(clientToken): {ID: 7, Hash: tokens.Digest(clientToken)}},
	}
	for i, id := range []string{"ollama", "openrouter", "other"} {
		dialect := id
		if id == "other" {
			dialect = "openai"
		}
		b.providers[id] = &provider.Provider{
			ID: id, Revision: 1, BaseURL: upstream, Dialect: dialect, Enabled: true, AllowPrivateAddresses: true,
			FirstByteTimeout: 20 * time.Second, IdleTimeout: 10 * time.Second,
		}
		for n := range keys {
			b.keys[id] = append(b.keys[id], &fakeKey{
				id: leases.KeyID(100*i + n + 1), secret: keyCanary + "-" + id + "-" + string(rune('a'+n)) + "0123456789",
			})
		}
	}
	return b
}

func newConfig(registry *prometheus.Registry, log io.Writer) Config {
	return Config{
		Version: "9.9", Region: "here", ExposeRouteHeaders: true, Registerer: registry,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// newBench starts an upstream, a proxy in front of it with so many keys for each provider, and checks in the end what must
// hold after every story.
func newBench(t *testing.T, keys int, upstream http.HandlerFunc) *bench {
	t.Helper()
	benches.Add(1)
	up := httptest.NewServer(upstream)
	t.Cleanup(up.Close)
	b := &bench{t: t, book: newFakeBook(up.URL, keys), registry: prometheus.NewRegistry(), log: &lockedBuffer{}}
	b.proxy = newProxy(newConfig(b.registry, b.log), b.book)
	front := httptest.NewUnstartedServer(b.proxy)
	front.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	front.Start()
	b.url, b.client = front.URL, front.Client()
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		b.proxy.CloseIdle()
		front.Close()
		b.check()
		if benches.Add(-1) == 0 {
			nothingRuns(t)
		}
	})
	return b
}

// benches counts those that have not been cleaned up yet.
var benches atomic.Int32

// nothingRuns checks that no goroutine is left of what the proxy does, nor of its connections to upstreams. They may need
// a moment to end.
func nothingRuns(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	var left []string
	for range 200 {
		left = nil
		for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			for _, owner := range []string{"proxy.(*exchange).", "proxy.(*stream).", "proxy.(*Proxy).ServeHTTP", "http.(*persistConn)."} {
				if strings.Contains(g, owner) && !strings.Contains(g, "testing.tRunner") {
					left = append(left, g)
					break
				}
			}
		}
		if len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}

func (b *bench) check() {
	b.t.Helper()
	b.book.balanced(b.t)
	said := b.log.String()
	for _, canary := range []string{keyCanary, clientToken, "CANARYTOKEN"} {
		if strings.Contains(said, canary) {
			b.t.Errorf("the log holds %s", canary)
		}
	}
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// code is the code of an error object.
func (a answer) code() string {
	_, rest, _ := strings.Cut(a.body, `"code":"`)
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

func (b *bench) request(method, path, body string, header ...string) *http.Request {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+clientToken)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i+1] == "" {
			r.Header.Del(header[i])
		} else {
			r.Header.Set(header[i], header[i+1])
		}
	}
	return r
}

func (b *bench) do(r *http.Request) answer {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header, string(body), err}
	if strings.Contains(a.body, keyCanary) || strings.Contains(a.body, clientToken) {
		b.t.Errorf("the answer holds a canary: %s", a.body)
	}
	for name, values := range a.header {
		if strings.Contains(strings.Join(values, " "), keyCanary) {
			b.t.Errorf("the header %s holds a key", name)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		b.t.Error("no x-request-id")
	}
	return a
}

func (b *bench) chat(body string, header ...string) answer {
	b.t.Helper()
	return b.do(b.request("POST", "/v1/chat/completions", body, header...))
}

const (
	askWhole  = `{"model":"m","messages":[]}`
	askStream = `{"model":"m","messages":[],"stream":true}`
	goodWhole = `{"id":"1","choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}`
)

func event(data string) string { return "data: " + data + "\n\n" }

func chunk(content string) string {
	return event(`{"choices":[{"delta":{"content":"` + content + `"},"finish_reason":null}]}`)
}

var (
	finish     = event(`{"choices":[{"delta":{},"finish_reason":"stop"}]}`)
	doneEvent  = event("[DONE]")
	goodStream = chunk("a") + chunk("b") + finish + doneEvent
)

func sendJSON(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

func sendStream(w http.ResponseWriter, pieces ...string) {
	sendEvents(w, "text/event-stream", pieces...)
}

func sendEvents(w http.ResponseWriter, media string, pieces ...string) {
	w.Header().Set("Content-Type", media)
	for _, p := range pieces {
		_, _ = io.WriteString(w, p)
		_ = http.NewResponseController(w).Flush()
	}
}

// keyOf tells which key a request came with: a for the first, b for the second.
func keyOf(r *http.Request) string {
	auth := strings.TrimSuffix(r.Header.Get("Authorization"), "0123456789")
	return auth[len(auth)-1:]
}

// pipes is a network without sockets, for bubbles.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// newBubbleBench is newBench without sockets; call it in a synctest bubble, and stop before its end.
func newBubbleBench(t *testing.T, keys int, upstream http.HandlerFunc) (b *bench, stop func()) {
	t.Helper()
	upPipes, frontPipes := newPipes(), newPipes()
	whole := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // only then does net/http notice a hang-up
		r.Body = io.NopCloser(bytes.NewReader(body))
		upstream(w, r)
	}
	up := &http.Server{Handler: http.HandlerFunc(whole), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	var running sync.WaitGroup
	running.Go(func() { _ = up.Serve(upPipes) })
	b = &bench{t: t, book: newFakeBook("http://upstream.test", keys), registry: prometheus.NewRegistry(), log: &lockedBuffer{}}
	config := newConfig(b.registry, b.log)
	config.DialUpstream = upPipes.dial
	b.proxy = newProxy(config, b.book)
	front := &http.Server{Handler: b.proxy, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	running.Go(func() { _ = front.Serve(frontPipes) })
	b.url = "http://pool.test"
	transport := &http.Transport{DialContext: frontPipes.dial, DisableCompression: true}
	b.client = &http.Client{Transport: transport}
	return b, func() {
		transport.CloseIdleConnections()
		b.proxy.CloseIdle()
		_ = front.Close()
		_ = up.Close()
		running.Wait()
		b.check()
	}
}

func connCounter(n *atomic.Int32) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.Add(1)
		}
	}
}
