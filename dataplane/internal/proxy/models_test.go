package proxy

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

const tags = `{"models":[{"name":"kimi","modified_at":"2025-08-05T00:00:00Z"},{"name":"qwen"}]}`

func (b *bench) models(id string) answer {
	b.t.Helper()
	path := "/v1/models"
	if id != "" {
		path = "/" + id + path
	}
	return b.do(b.request("GET", path, ""))
}

func TestModelsAreConvertedAndCached(t *testing.T) {
	var calls atomic.Int32
	var broken atomic.Bool
	inBubble(t, 2, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("User-Agent") != "ollama-api-pool/9.9" || !strings.Contains(r.Header.Get("Authorization"), keyCanary) {
			t.Errorf("asked with %v", r.Header)
		}
		switch {
		case broken.Load():
			sendJSON(w, 500, `{}`)
		case r.URL.Path == "/api/tags":
			sendJSON(w, 200, tags)
		default:
			sendJSON(w, 200, `{"data":[{"id":"a/b","name":"B"}]}`)
		}
	}, func(t *testing.T, b *bench) {
		const want = `{"object":"list","data":[{"id":"kimi","object":"model","created":1754352000,"owned_by":"library"},{"id":"qwen","object":"model","created":0,"owned_by":"library"}]}`
		for range 3 {
			if a := b.models(""); a.status != 200 || a.body != want || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %s", a.status, a.body)
			}
		}
		if calls.Load() != 1 {
			t.Errorf("%d calls for three questions", calls.Load())
		}
		if a := b.models("openrouter"); !strings.Contains(a.body, `"id":"a/b"`) || strings.Contains(a.body, "kimi") {
			t.Errorf("another provider's list: %s", a.body)
		}
		time.Sleep(listAge + time.Second)
		broken.Store(true)
		calls.Store(0)
		for range 3 {
			if a := b.models(""); a.status != 200 || a.body != want {
				t.Errorf("in trouble: %d %s", a.status, a.body)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%d calls of an upstream in trouble, want one round of two keys", calls.Load())
		}
		if a := b.models("other"); a.status != 502 {
			t.Errorf("in trouble and without a list: %d", a.status)
		}
		time.Sleep(listRetry + time.Second)
		broken.Store(false)
		calls.Store(0)
		if a := b.models(""); a.body != want || calls.Load() != 1 {
			t.Errorf("when the trouble is over: %d calls", calls.Load())
		}
		b.book.mu.Lock()
		b.book.tokens[tokens.Digest(clientToken)].Models = []string{"q*"}
		b.book.mu.Unlock()
		if a := b.models(""); strings.Contains(a.body, "kimi") || !strings.Contains(a.body, `"id":"qwen"`) {
			t.Errorf("a token sees what it may not use: %s", a.body)
		}
	})
}

func TestModelsAreAskedForOnce(t *testing.T) {
	var calls atomic.Int32
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		pause(r, 3*time.Second)
		sendJSON(w, 200, tags)
	}, func(t *testing.T, b *bench) {
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { // the one that asks, and leaves
			if resp, err := b.client.Do(b.request("GET", "/v1/models", "").WithContext(ctx)); err == nil {
				t.Errorf("got %d", resp.StatusCode)
				_ = resp.Body.Close()
			}
		})
		time.Sleep(time.Second)
		for range 20 {
			all.Go(func() {
				if a := b.models(""); a.status != 200 {
					t.Errorf("got %d %s", a.status, a.body)
				}
			})
		}
		time.Sleep(time.Second)
		leave()
		all.Wait()
		synctest.Wait()
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
		if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.OK}) {
			t.Errorf("settled %v", got)
		}
	})
}

func TestModelsFailOver(t *testing.T) {
	for _, row := range []struct {
		why     string
		status  int
		body    string
		verdict provider.Class
	}{
		{"a dead key", 401, `{}`, provider.AuthRejected},
		{"a limited key", 429, `{}`, provider.RateLimited},
		{"an error", 500, `{}`, provider.ServerError},
		{"no list", 200, `<html>`, provider.Broken},
	} {
		b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
			if keyOf(r) == "a" {
				sendJSON(w, row.status, row.body)
				return
			}
			sendJSON(w, 200, tags)
		})
		if a := b.models(""); a.status != 200 {
			t.Errorf("%s: %d %s", row.why, a.status, a.body)
		}
		if got := b.book.classes(); !slices.Equal(got, []provider.Class{row.verdict, provider.OK}) {
			t.Errorf("%s: settled %v", row.why, got)
		}
	}
}

// fakeProbes asks for probes and keeps the answers.
type fakeProbes struct {
	ask  chan leases.Probe
	mu   sync.Mutex
	said []provider.Verdict
}

func (f *fakeProbes) Probes() <-chan leases.Probe { return f.ask }

func (f *fakeProbes) Probed(_ leases.Loan, v provider.Verdict) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, v)
}

func TestProbes(t *testing.T) {
	for _, row := range []struct {
		why      string
		provider string
		status   int
		wait     time.Duration
		want     provider.Class
		after    time.Duration
	}{
		{"a good key", "ollama", 400, 0, provider.OK, 0},
		{"a dead key", "ollama", 401, 0, provider.AuthRejected, 0},
		{"a good key at OpenRouter", "openrouter", 200, 0, provider.OK, 0},
		{"a limited key", "other", 429, 0, provider.RateLimited, 0},
		{"an upstream in trouble", "other", 503, 0, provider.ServerError, 0},
		{"silence", "ollama", 0, time.Hour, provider.Timeout, 10 * time.Second},
	} {
		t.Run(row.why, func(t *testing.T) {
			var begun, most atomic.Int32
			inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("User-Agent") != "ollama-api-pool/9.9 (probe)" {
					t.Errorf("User-Agent %s", r.Header.Get("User-Agent"))
				}
				if want := map[string]string{"openrouter": "/v1/key"}[row.provider]; want != "" && r.URL.Path != want {
					t.Errorf("asked at %s", r.URL.Path)
				}
				pause(r, row.wait)
				pause(r, time.Millisecond)
				sendJSON(w, max(row.status, 200), `{"error":{"message":"with `+keyCanary+`-`+row.provider+`-a0123456789"}}`)
			}, func(t *testing.T, b *bench) {
				f := &fakeProbes{ask: make(chan leases.Probe, 20)}
				prov := b.book.providers[row.provider]
				for range 20 {
					f.ask <- leases.Probe{Provider: prov, TTL: 10 * time.Second}
				}
				close(f.ask)
				start := time.Now()
				b.proxy.runProbes(t.Context(), f, func(leases.Loan) loan {
					f.mu.Lock() // counted here, because an upstream notices late that it was given up
					defer f.mu.Unlock()
					most.Store(max(most.Load(), begun.Add(1)-int32(len(f.said))))
					return fakeLoan{b.book, b.book.keys[row.provider][0]}
				})
				if len(f.said) != 20 || most.Load() > 4 {
					t.Errorf("%d answers, %d at once", len(f.said), most.Load())
				}
				for _, v := range f.said {
					if v.Class != row.want || strings.Contains(v.Message, keyCanary) {
						t.Errorf("got %+v, want %v", v, row.want)
					}
				}
				if at := time.Since(start); row.after > 0 && at != 5*row.after {
					t.Errorf("took %v", at)
				}
			})
		})
	}
}

func TestProbesEndWithTheirContext(t *testing.T) {
	inBubble(t, 1, func(_ http.ResponseWriter, r *http.Request) { forever(r) }, func(t *testing.T, b *bench) {
		f := &fakeProbes{ask: make(chan leases.Probe, 1)}
		f.ask <- leases.Probe{Provider: b.book.providers["ollama"], TTL: time.Minute}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.proxy.runProbes(ctx, f, func(leases.Loan) loan { return fakeLoan{b.book, b.book.keys["ollama"][0]} })
		if len(f.said) != 1 || f.said[0].Class != provider.LocalError {
			t.Errorf("got %+v", f.said)
		}
	})
}

func TestAPanicInAProbeIsAnswered(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	f := &fakeProbes{ask: make(chan leases.Probe, 2)}
	f.ask <- leases.Probe{} // no provider
	close(f.ask)
	b.proxy.runProbes(t.Context(), f, func(leases.Loan) loan { return nil })
	if len(f.said) != 1 || f.said[0].Class != provider.LocalError || b.metric("apipool_panics_total", "") != 1 {
		t.Errorf("got %+v", f.said)
	}
}
