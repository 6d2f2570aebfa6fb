package system

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	controlplane "ollama-api-pool/controlplane/server"
	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

const (
	adminToken = "bubble-admin-0123456789-abcdefghijklmnop"
	joinToken  = "bubble-join-0123456789-abcdefghijkl"
)

// cluster is both planes and the pretend upstream in one bubble. Everything stops before the bubble ends.
type cluster struct {
	*operator
	dir      string
	net      *memnet
	control  *running
	nodes    map[string]*running
	http     *http.Server
	also     []*http.Server // further upstreams
	wg       sync.WaitGroup
	restored int // how often a story has put a backup back
	changeCP func(*controlplane.Config)
	changeDP func(*dataplane.Config)
}

// running is a plane that can be stopped in order, or dropped as if it had been killed.
type running struct {
	stop context.CancelFunc
	done chan error
}

// bubble runs a story with a control plane, the named nodes ("name@region"), and the pretend upstream as provider ollama.
func bubble(t *testing.T, nodes []string, story func(*cluster)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{dir: dir, net: newMemnet(), nodes: map[string]*running{}}
		c.operator = &operator{t: t, base: "http://admin", token: adminToken, logs: &logs{}, client: &http.Client{
			Transport: &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, _, _ := net.SplitHostPort(address)
				return c.net.dialer("client")(ctx, host)
			}},
		}}
		defer c.close()
		c.startUpstream()
		c.startControl()
		for _, n := range nodes {
			c.startNode(n)
		}
		c.admin("PATCH", "/admin/providers/ollama", `{"baseUrl":"http://upstream","allowPrivateAddresses":true}`, nil)
		story(c)
	})
}

func (c *cluster) startUpstream() {
	c.upstream = fakellm.New(fakellm.Config{Dialect: fakellm.Ollama, KeepHeaders: true})
	l := c.net.listen("upstream")
	c.http = &http.Server{Handler: c.upstream}
	c.wg.Go(func() { _ = c.http.Serve(l) })
}

func (c *cluster) startControl() {
	c.t.Helper()
	cfg := controlplane.Config{
		DataDir: filepath.Join(c.dir, "control"), AdminToken: adminToken, JoinToken: joinToken,
		NodeListener: c.net.listen("control"), AdminListener: c.net.listen("admin"), Logger: c.logs.logger("control"),
		DialUpstream: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			return c.net.dialer("control")(ctx, host)
		},
	}
	if c.changeCP != nil {
		c.changeCP(&cfg)
	}
	s, err := controlplane.New(c.t.Context(), cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.control = c.run(s.Run)
}

func (c *cluster) startNode(name string) {
	c.t.Helper()
	id, region, _ := strings.Cut(name, "@")
	begin := time.Now()
	cfg := dataplane.Config{
		ControlPlane: "control", NodeID: id, Region: region, JoinToken: joinToken, DataDir: filepath.Join(c.dir, id),
		Listener: c.net.listen(id), OpsListener: c.net.listen(id + "-ops"), Logger: c.logs.logger(id),
		Now:              func() time.Duration { return time.Since(begin) + time.Hour },
		DialControlPlane: c.net.dialer(id),
		DialUpstream: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, _, _ := net.SplitHostPort(address)
			return c.net.dialer(id)(ctx, host)
		},
	}
	if c.changeDP != nil {
		c.changeDP(&cfg)
	}
	s, err := dataplane.New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = c.run(s.Run)
}

func (c *cluster) run(serve func(context.Context) error) *running {
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop: stop, done: make(chan error, 1)}
	c.wg.Go(func() { r.done <- serve(ctx) })
	return r
}

func (c *cluster) stopControl() {
	c.t.Helper()
	c.control.stop()
	if err := <-c.control.done; err != nil {
		c.t.Errorf("the control plane ended with %v", err)
	}
	c.control = nil
}

func (c *cluster) stopNode(id string) {
	c.t.Helper()
	c.nodes[id].stop()
	if err := <-c.nodes[id].done; err != nil {
		c.t.Errorf("node %s ended with %v", id, err)
	}
	delete(c.nodes, id)
}

func (c *cluster) close() {
	c.client.CloseIdleConnections()
	for id := range c.nodes {
		c.stopNode(id)
	}
	if c.control != nil {
		c.stopControl()
	}
	_ = c.http.Close()
	for _, web := range c.also {
		_ = web.Close()
	}
	c.wg.Wait()
	c.wantNoViolations()
	if c.t.Failed() {
		c.t.Log(c.logs.tail(60))
	}
}

// ready waits until the node serves.
func (c *cluster) ready(id string) {
	c.t.Helper()
	for range 600 {
		resp, err := c.client.Get("http://" + id + "-ops/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("node %s did not get ready", id)
}

// chat sends a request with an id that the ledger will show.
func (c *cluster) chat(node, token, id string, stream bool) answer {
	body := fmt.Sprintf(`{"model":%q,"user":%q,"stream":%v,"messages":[{"role":"user","content":"hello"}]}`,
		fakellm.DefaultModel, id, stream)
	req, err := http.NewRequestWithContext(c.t.Context(), "POST", "http://"+node+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	return c.do(req)
}

// settle waits until every node's counts have been reported and committed: two report intervals and a tick.
func (c *cluster) settle() { time.Sleep(5 * time.Second) }

// logs keeps what was logged and answered, at level debug, for the scan for secrets and for failed tests.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) answer(text []byte) { _, _ = l.Write(append(text, '\n')) }

func (l *logs) logger(who string) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})).With("who", who)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) tail(n int) string {
	lines := strings.Split(l.String(), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
