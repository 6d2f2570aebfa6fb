package system

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// askers are clients with a token of their own each, which ask one thing after the other over one connection. What the node
// does not take because it is down is no call.
type askers struct {
	f     *fleet
	node  string
	names []string
	keys  []string // their tokens

	mu      sync.Mutex
	calls   map[string][]call // by name of the token
	conns   map[string]int
	strange []string // answers that are neither full nor cut off
}

func newAskers(f *fleet, node string, n int) *askers {
	a := &askers{f: f, node: node, calls: map[string][]call{}, conns: map[string]int{}}
	for i := range n {
		a.names = append(a.names, fmt.Sprintf("asker-%d", i))
		a.keys = append(a.keys, f.addToken(a.names[i]))
	}
	return a
}

// run has them ask until ctx ends, or `each` times when that is not 0.
func (a *askers) run(ctx context.Context, each int) {
	var wg sync.WaitGroup
	for i, name := range a.names {
		wg.Go(func() {
			client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for n := 0; ctx.Err() == nil && (each == 0 || n < each); {
				if a.ask(client, name, a.keys[i]) {
					n++
					continue
				}
				for ctx.Err() == nil && !ready(client, "http://"+a.f.port(a.node+"-ops")+"/readyz") {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}

func ready(client *http.Client, url string) bool {
	resp, err := client.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// ask makes one call, and says whether it was answered to the end.
func (a *askers) ask(client *http.Client, name, token string) bool {
	a.mu.Lock()
	c := call{id: fmt.Sprintf("%s/%d", name, len(a.calls[name]))}
	a.mu.Unlock()
	connected := false
	trace := httptrace.WithClientTrace(a.f.t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if !info.Reused {
			a.conns[name]++
		}
		connected, c.conn = true, a.conns[name]
	}})
	req, err := http.NewRequestWithContext(trace, http.MethodPost, "http://"+a.f.port(a.node)+"/v1/chat/completions", strings.NewReader(
		fmt.Sprintf(`{"model":%q,"user":%q,"messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel, c.id)))
	if err != nil {
		a.f.t.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err == nil {
		var text []byte
		text, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if c.full = err == nil; c.full && resp.StatusCode != http.StatusOK {
			a.note(fmt.Sprintf("%s: %d %.200s", c.id, resp.StatusCode, text))
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if connected {
		a.calls[name] = append(a.calls[name], c)
	}
	return c.full
}

func (a *askers) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strange = append(a.strange, what)
}

// reckon judges what the control plane has counted when all is reported.
func (a *askers) reckon() reckoning {
	a.f.t.Helper()
	report(a.f.t, a.strange)
	a.f.settle()
	var list struct {
		ClientTokens []struct {
			Name  string
			Stats struct{ Total, Success float64 }
		}
	}
	a.f.admin("GET", "/admin/tokens?pageSize=1000", "", &list)
	tokens := map[string]tally{}
	for _, t := range list.ClientTokens {
		tokens[t.Name] = tally{int(t.Stats.Total), int(t.Stats.Success)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return reckon(maps.Clone(a.calls), tokens, a.f.keyTotals(), fakellm.Attempts(a.f.upstream.Ledger()))
}

func (a *askers) asked() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, calls := range a.calls {
		n += len(calls)
	}
	return n
}

// cable stands between a node and the control plane, and can keep back what the control plane says.
type cable struct {
	listener net.Listener
	to       string
	deaf     atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &cable{listener: l, to: to, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { w.join(down) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		wg.Wait()
	})
	return w
}

func (w *cable) join(down net.Conn) {
	defer down.Close()
	up, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer up.Close()
	w.mu.Lock()
	w.conns[down], w.conns[up] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(up, down)
		_ = up.Close()
	})
	both.Go(func() {
		_, _ = io.Copy(muted{down, w}, up)
		_ = down.Close()
	})
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, down)
	delete(w.conns, up)
}

// muted takes everything and passes it on unless the cable is deaf.
type muted struct {
	to net.Conn
	w  *cable
}

func (m muted) Write(b []byte) (int, error) {
	if m.w.deaf.Load() {
		return len(b), nil
	}
	return m.to.Write(b)
}

// cut ends all connections.
func (w *cable) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

// mend lets new connections pass both ways. Those that have missed something end.
func (w *cable) mend() {
	w.cut()
	w.deaf.Store(false)
}
