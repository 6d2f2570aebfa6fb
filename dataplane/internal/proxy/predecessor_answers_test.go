package proxy

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// listOf are the ids of a provider's models, as a client reads them.
func (b *bench) listOf(id string) (names []string) {
	b.t.Helper()
	var list struct{ Data []struct{ ID string } }
	if a := b.models(id); a.status != 200 || json.Unmarshal([]byte(a.body), &list) != nil {
		b.t.Errorf("the models of %s: %d %s", id, a.status, a.body)
	}
	for _, m := range list.Data {
		names = append(names, m.ID)
	}
	return names
}

// Two providers whose lists differ in size are each shown their own, whichever was asked for first, whichever is forgotten.
func TestPredecessor_A3(t *testing.T) {
	has := map[string][]string{"ollama": {"kimi", "qwen"}, "openrouter": {"a/1", "a/2", "a/3", "b/1", "b/2"}}
	for _, first := range []string{"ollama", "openrouter"} {
		asked := map[string]int{}
		inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/tags" {
				asked["ollama"]++
				sendJSON(w, 200, tags)
				return
			}
			asked["openrouter"]++
			sendJSON(w, 200, `{"data":[{"id":"a/1"},{"id":"a/2"},{"id":"a/3"},{"id":"b/1"},{"id":"b/2"}]}`)
		}, func(t *testing.T, b *bench) {
			second := map[string]string{"ollama": "openrouter", "openrouter": "ollama"}[first]
			shows := func(when string) {
				for range 3 {
					for _, id := range []string{first, second} {
						if got := b.listOf(id); !slices.Equal(got, has[id]) {
							t.Errorf("%s, %s before %s: %s shows %v", when, first, second, id, got)
						}
					}
				}
			}
			shows("at first")
			b.proxy.Forget([]string{first})
			shows("when one is forgotten")
			if asked[first] != 2 || asked[second] != 1 {
				t.Errorf("%s was forgotten and asked %d times, %s %d times", first, asked[first], second, asked[second])
			}
		})
	}
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

// Ten thousand probes of upstreams that answer, refuse, never end, break off or say nothing leave no goroutine, no connection
// and no body that is not closed. Each is the cheapest question, there are four at a time, and none takes longer than it may.
func TestPredecessor_A12(t *testing.T) {
	const probes = 10_000
	var asked, open atomic.Int64
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); r.Method != "POST" || r.URL.Path != "/v1/chat/completions" || string(body) != "{}" {
			t.Errorf("asked %s %s %s", r.Method, r.URL.Path, body)
		}
		switch n := asked.Add(1); {
		case n%100 == 0: // says nothing
			forever(r)
		case n%100 == 1: // says more than anyone wants to read
			w.WriteHeader(401)
			_, _ = w.Write(make([]byte, 1<<20))
			forever(r)
		case n%100 == 2: // begins, and says no more
			w.WriteHeader(500)
			_ = http.NewResponseController(w).Flush()
			forever(r)
		case n%100 == 3:
			panic(http.ErrAbortHandler)
		case n%2 == 0:
			sendJSON(w, 429, `{}`)
		default:
			sendJSON(w, 400, `{}`)
		}
	}, func(t *testing.T, b *bench) {
		dial := b.proxy.upstreams.dial
		b.proxy.upstreams.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err == nil {
				open.Add(1)
				c = &closing{Conn: c, closed: sync.OnceFunc(func() { open.Add(-1) })}
			}
			return c, err
		}
		prov := b.book.providers["ollama"]
		up, err := b.proxy.upstreams.get(prov)
		if err != nil {
			t.Fatal(err)
		}
		inner := up.transport.Clone()
		under := &traffic{RoundTripper: inner}
		up.transport.RegisterProtocol("http", under)
		begin := time.Now()
		f := &fakeProbes{ask: make(chan leases.Probe, probes)}
		for range probes {
			f.ask <- leases.Probe{Provider: prov, TTL: time.Minute}
		}
		close(f.ask)
		b.proxy.runProbes(t.Context(), f, func(leases.Loan) loan { return fakeLoan{b.book, b.book.keys["ollama"][0]} })
		inner.CloseIdleConnections()
		synctest.Wait()

		if len(f.said) != probes || asked.Load() != probes || under.most != 4 {
			t.Errorf("%d answers and %d questions, %d at once", len(f.said), asked.Load(), under.most)
		}
		if under.now != 0 || open.Load() != 0 { // a goroutine that is left fails the bubble
			t.Errorf("left: %d bodies, %d connections", under.now, open.Load())
		}
		classes := map[provider.Class]int{}
		for _, v := range f.said {
			classes[v.Class]++
		}
		if classes[provider.Timeout] != 2*probes/100 || classes[provider.AuthRejected] != probes/100 || classes[provider.OK] < probes/3 {
			t.Errorf("answers %v", classes)
		}
		if took := time.Since(begin); took > 2*probes/100*probeTimeout {
			t.Errorf("took %v", took)
		}
	})
}

// closing tells when it is closed.
type closing struct {
	net.Conn
	closed func() // may be called again
}

func (c *closing) Close() error {
	c.closed()
	return c.Conn.Close()
}

// What an attempt came to is known when its answer has ended, and is told once: nothing is settled while a stream goes on.
func TestPredecessor_A13(t *testing.T) {
	half := func(w http.ResponseWriter) {
		sendJSON(w, 200, `{"choices"`)
		_ = http.NewResponseController(w).Flush()
	}
	begins := func(w http.ResponseWriter) { sendStream(w, chunk("a")) }
	failure := event(`{"error":{"code":502,"message":"it broke"}}`)
	for _, row := range []struct {
		why   string
		ask   string
		begin func(w http.ResponseWriter) // nil: nothing, not even headers
		end   string                      // sent after five seconds; empty: nothing ever is
		abort bool                        // the client leaves after three
		want  provider.Class
		saw   leases.End
	}{
		{"a stream is whole", askStream, begins, chunk("b") + finish + doneEvent, false, provider.OK, leases.EndOK},
		{"an answer is whole", askWhole, half, `:[]}`, false, provider.OK, leases.EndOK},
		{"a stream ends too early", askStream, begins, chunk("b"), false, provider.Truncated, leases.EndTruncated},
		{"a stream breaks off", askStream, begins, "ABORT", false, provider.Truncated, leases.EndTruncated},
		{"an answer breaks off", askWhole, half, "ABORT", false, provider.Broken, leases.EndUpstreamError},
		{"an error ends a stream, and DONE follows", askStream, begins, failure + finish + doneEvent, false, provider.Truncated, leases.EndTruncated},
		{"an error is all that a stream says", askStream, func(w http.ResponseWriter) { sendStream(w, ": x\n\n") }, failure, false, provider.Broken, leases.EndUpstreamError},
		{"the client leaves a stream", askStream, begins, "", true, provider.Canceled, leases.EndCanceled},
		{"the client leaves before there is an answer", askWhole, nil, "", true, provider.Canceled, leases.EndCanceled},
		{"a stream falls silent", askStream, begins, "", false, provider.Truncated, leases.EndTruncated},
		{"an answer does not begin", askStream, nil, "", false, provider.Timeout, leases.EndUpstreamError},
	} {
		t.Run(row.why, func(t *testing.T) {
			inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
				if row.begin != nil {
					row.begin(w)
				}
				if pause(r, 5*time.Second); row.end == "" {
					forever(r)
				}
				if row.end == "ABORT" {
					panic(http.ErrAbortHandler)
				}
				_, _ = io.WriteString(w, row.end)
			}, func(t *testing.T, b *bench) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				done := make(chan struct{})
				go func() {
					defer close(done)
					b.do(b.request("POST", "/v1/chat/completions", row.ask).WithContext(ctx))
				}()
				time.Sleep(3 * time.Second)
				if got := b.book.classes(); len(got)+len(b.book.ends()) != 0 {
					t.Errorf("settled %v before the end", got)
				}
				if row.abort {
					leave()
				}
				<-done
				time.Sleep(time.Second)
				if got := b.book.classes(); !slices.Equal(got, []provider.Class{row.want}) {
					t.Errorf("settled %v, want %v", got, row.want)
				}
				if got := b.book.ends(); !slices.Equal(got, []leases.End{row.saw}) {
					t.Errorf("ends %v, want %v", got, row.saw)
				}
				if got := b.metric("apipool_upstream_attempts_total", "outcome="+row.want.String()+",provider=ollama"); got != 1 {
					t.Errorf("the metric counts %v attempts", got)
				}
			})
		})
	}
}
