package main

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-api-pool/test/fakellm"
)

var models = []string{fakellm.DefaultModel, "gpt-oss:120b", "qwen3-coder:480b", "deepseek-v3.1:671b"}

// upstream is the pretend provider on its own loopback listener, with what it was asked.
type upstream struct {
	*fakellm.Upstream
	*ledger
	url string
	web *http.Server
}

func openUpstream() (*upstream, error) {
	l := &ledger{tries: map[string][]fakellm.Entry{}}
	u := &upstream{Upstream: fakellm.New(fakellm.Config{Models: models, Ledger: l}), ledger: l}
	u.web = &http.Server{Handler: u.Upstream, ReadHeaderTimeout: time.Minute}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u.url = "http://" + ln.Addr().String()
	go func() { _ = u.web.Serve(ln) }() // ends by close
	return u, nil
}

// close cuts what is still under way: some of it would hang for ever.
func (u *upstream) close() { _ = u.web.Close() }

// ledger keeps what the upstream was asked, by request of the demo's own clients, until they take it.
type ledger struct {
	mu    sync.Mutex
	all   int // chat completions of anybody, probes apart
	own   int // of the demo's own requests
	bad   int // of those, not answered in full
	tries map[string][]fakellm.Entry
}

// Write takes a finished entry, as the upstream writes it.
func (l *ledger) Write(line []byte) (int, error) {
	var e fakellm.Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return 0, err
	}
	if e.Probe || !strings.HasSuffix(e.Path, "/chat/completions") {
		return len(line), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all++
	if tries, ok := l.tries[e.RequestID]; ok {
		l.tries[e.RequestID] = append(tries, e)
		l.own++
		if e.Outcome != fakellm.Completed {
			l.bad++
		}
	}
	return len(line), nil
}

// expect has the tries of a request kept until they are taken.
func (l *ledger) expect(request string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries[request] = nil
}

// take answers the tries of a request in their order. It waits a little for all n: that a client has left is seen by the
// upstream after the data plane has gone on to the next key.
func (l *ledger) take(request string, n int) []fakellm.Entry {
	for range 50 {
		if l.seen(request) >= n {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	tries := l.tries[request]
	delete(l.tries, request)
	slices.SortFunc(tries, func(a, b fakellm.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return tries
}

func (l *ledger) seen(request string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tries[request])
}

// counts answers all chat completions, and those of the demo's own requests with the failed ones among them.
func (l *ledger) counts() (all, own, bad int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all, l.own, l.bad
}
