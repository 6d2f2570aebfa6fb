package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// inBubble runs a story in fake time, and finds goroutines that outlive it.
func inBubble(t *testing.T, keys int, upstream http.HandlerFunc, story func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, stop := newBubbleBench(t, keys, upstream)
		story(t, b)
		stop()
	})
}

// pause waits, but no longer than the request it serves.
func pause(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func forever(r *http.Request) { <-r.Context().Done() }

func TestAStreamPassesByteForByte(t *testing.T) {
	for _, row := range []struct {
		why    string
		pieces []string
	}{
		{"as usual", []string{chunk("a"), chunk("b"), finish, doneEvent}},
		{"all at once", []string{goodStream}},
		{"one byte at a time", strings.Split(goodStream, "")},
		{"with comments", []string{": OPENROUTER PROCESSING\n\n", chunk("a"), ": x\n", finish, ": y\n\n", doneEvent}},
		{"with CR LF", []string{strings.ReplaceAll(goodStream, "\n", "\r\n")}},
		{"with CR", []string{strings.ReplaceAll(goodStream, "\n", "\r")}},
		{"cut between CR and LF", strings.SplitAfter(strings.ReplaceAll(goodStream, "\n", "\r\n"), "\r")},
		{"with event names and ids", []string{"id: 1\nevent: x\n" + chunk("a"), finish, doneEvent}},
		{"without DONE but with a reason", []string{chunk("a"), finish}},
		{"without the last blank line", []string{chunk("a"), finish, "data: [DONE]"}},
		{"with a word about errors inside", []string{chunk(`\"error\": [DONE] \"finish_reason\":\"stop\"`), finish, doneEvent}},
		{"with null errors", []string{event(`{"error":null,"choices":[{"finish_reason":"stop"}]}`), doneEvent}},
		{"with a large line", []string{chunk(strings.Repeat("x", 1<<20)), chunk("b"), finish, doneEvent}},
	} {
		t.Run(row.why, func(t *testing.T) {
			b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendStream(w, row.pieces...) })
			a := b.chat(askStream, "Accept", "application/json")
			if want := strings.Join(row.pieces, ""); a.status != 200 || a.body != want || a.err != nil {
				t.Errorf("got %d %.300q %v, want %.300q", a.status, a.body, a.err, want)
			}
			if a.header.Get("Content-Type") != "text/event-stream" || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", a.header)
			}
			if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.OK}) {
				t.Errorf("settled %v", got)
			}
			if b.proxy.bodies.free.Load() != bodyMemory() {
				t.Error("memory was not given back")
			}
		})
	}
}

func TestEventsAreFlushedAsTheyCome(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		for _, p := range []string{chunk("a"), chunk("b"), ": still here\n", finish, doneEvent} {
			sendStream(w, p)
			pause(r, time.Second)
		}
		forever(r) // after DONE it holds the connection open
	}, func(t *testing.T, b *bench) {
		start := time.Now()
		resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", askStream))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for i, want := range []string{chunk("a"), chunk("b"), ": still here\n", finish, doneEvent} {
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Errorf("got %q %v, want %q", got, err, want)
			}
			if at := time.Since(start); at != time.Duration(i)*time.Second {
				t.Errorf("event %d came after %v", i, at)
			}
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after DONE: %v", err)
		}
		if at := time.Since(start); at > 4*time.Second+100*time.Millisecond {
			t.Errorf("ended after %v", at)
		}
		synctest.Wait()
		if got := b.book.settled[0]; got.Verdict.Class != provider.OK || got.FirstByte <= 0 {
			t.Errorf("settled %+v", got)
		}
	})
}

// A stream that breaks after its first event never ends cleanly, and nothing is spliced to it.
func TestPredecessor_A14(t *testing.T) {
	abort := "ABORT"
	for _, row := range []struct {
		why    string
		pieces []string
		want   string // what the client has before the error event
		says   string
	}{
		{"cut after an event", []string{chunk("a"), abort}, chunk("a"), "upstream_truncated"},
		{"cut within an event", []string{chunk("a") + `data: {"choi`, abort}, chunk("a"), "upstream_truncated"},
		{"ended without DONE and without a reason", []string{chunk("a"), chunk("b")}, chunk("a") + chunk("b"), "upstream_truncated"},
		{"an error event", []string{chunk("a"), event(`{"error":{"message":"it broke at http://10.1.2.3/ with CANARYKEY-ollama-a0123456789"}}`), doneEvent}, chunk("a"), "it broke"},
		{"an error event beside empty choices", []string{chunk("a"), event(`{"error":{"code":502,"message":"it broke"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}`)}, chunk("a"), "it broke"},
		{"an error string", []string{chunk("a"), chunk("b") + event(`{"error":"it broke"}`)}, chunk("a") + chunk("b"), "it broke"},
	} {
		t.Run(row.why, func(t *testing.T) {
			calls := 0
			b := newBench(t, 3, func(w http.ResponseWriter, _ *http.Request) {
				calls++
				for _, p := range row.pieces {
					if p == abort {
						panic(http.ErrAbortHandler)
					}
					sendStream(w, p)
				}
			})
			a := b.chat(askStream)
			if a.err == nil {
				t.Error("it ended cleanly")
			}
			rest, ok := strings.CutPrefix(a.body, row.want)
			if !ok || !strings.HasPrefix(rest, `data: {"error":{`) || !strings.HasSuffix(rest, "}}\n\n") || !strings.Contains(rest, row.says) {
				t.Errorf("got %q", a.body)
			}
			if strings.Contains(a.body, "[DONE]") || strings.Contains(a.body, "10.1.2.3") || calls != 1 {
				t.Errorf("%d calls, got %q", calls, a.body)
			}
			if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.Truncated}) {
				t.Errorf("settled %v", got)
			}
			if got := b.book.ends(); got[0] != leases.EndTruncated {
				t.Errorf("end %v", got)
			}
		})
	}
}

func TestCommentsAreHeldForFifteenSeconds(t *testing.T) {
	const comment = ": OPENROUTER PROCESSING\n\n"
	for _, row := range []struct {
		why     string
		wait    time.Duration
		after   string
		body    string
		calls   int
		clean   bool
		verdict []provider.Class
	}{
		{"an error within that time fails over", 9 * time.Second, event(`{"error":{"code":429,"message":"x"}}`), goodStream, 2, true, []provider.Class{provider.RateLimited, provider.OK}},
		{"an error after it is an event, and is held against the key", 16 * time.Second, event(`{"error":{"code":429,"message":"x"}}`), comment, 1, false, []provider.Class{provider.RateLimited}},
		{"an answer after it is an answer", 16 * time.Second, goodStream, comment + comment + goodStream, 1, true, []provider.Class{provider.OK}},
		{"an end after it is a truncated stream", 16 * time.Second, "", comment + comment, 1, false, []provider.Class{provider.Truncated}},
	} {
		t.Run(row.why, func(t *testing.T) {
			calls := 0
			inBubble(t, 2, func(w http.ResponseWriter, r *http.Request) {
				calls++
				if calls == 2 {
					sendStream(w, goodStream)
					return
				}
				sendStream(w, comment)
				pause(r, row.wait/2)
				sendStream(w, comment)
				pause(r, row.wait/2)
				sendStream(w, row.after)
			}, func(t *testing.T, b *bench) {
				b.book.providers["ollama"].IdleTimeout = time.Minute
				start := time.Now()
				resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", askStream))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if at := time.Since(start); at != min(row.wait, 15*time.Second) {
					t.Errorf("the status came after %v", at)
				}
				body, err := io.ReadAll(resp.Body)
				if (err == nil) != row.clean || !strings.HasPrefix(string(body), row.body) || strings.Contains(string(body), `"error"`) == row.clean {
					t.Errorf("got %q, %v", body, err)
				}
				synctest.Wait()
				if got := b.book.classes(); !slices.Equal(got, row.verdict) || calls != row.calls {
					t.Errorf("settled %v in %d calls", got, calls)
				}
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	for _, row := range []struct {
		why      string
		upstream func(w http.ResponseWriter, r *http.Request)
		ask      string
		after    time.Duration
		status   int
		verdict  []provider.Class
	}{
		{
			"no headers: one more key, then 504", func(_ http.ResponseWriter, r *http.Request) { forever(r) }, askWhole,
			40 * time.Second, 504,
			[]provider.Class{provider.Timeout, provider.Timeout},
		},
		{"headers and no event: likewise", func(w http.ResponseWriter, r *http.Request) {
			sendStream(w, "")
			_ = http.NewResponseController(w).Flush()
			forever(r)
		}, askStream, 40 * time.Second, 504, []provider.Class{provider.Timeout, provider.Timeout}},
		{"half an answer: likewise", func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, 200, `{"choices"`)
			_ = http.NewResponseController(w).Flush()
			forever(r)
		}, askWhole, 20 * time.Second, 504, []provider.Class{provider.Timeout, provider.Timeout}},
		{"half an error is judged by its status", func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, 400, `{"error"`)
			_ = http.NewResponseController(w).Flush()
			forever(r)
		}, askWhole, 5 * time.Second, 400, []provider.Class{provider.ClientError}},
		{"silence within a stream: truncated", func(w http.ResponseWriter, r *http.Request) {
			sendStream(w, chunk("a"))
			pause(r, 9*time.Second)
			sendStream(w, chunk("b"))
			forever(r)
		}, askStream, 19 * time.Second, 200, []provider.Class{provider.Truncated}},
	} {
		t.Run(row.why, func(t *testing.T) {
			inBubble(t, 3, row.upstream, func(t *testing.T, b *bench) {
				start := time.Now()
				a := b.do(b.request("POST", "/v1/chat/completions", row.ask))
				if at := time.Since(start); at != row.after || a.status != row.status {
					t.Errorf("%d after %v, want %d after %v", a.status, at, row.status, row.after)
				}
				if row.status == 200 && a.err == nil {
					t.Error("it ended cleanly")
				}
				synctest.Wait()
				if got := b.book.classes(); !slices.Equal(got, row.verdict) {
					t.Errorf("settled %v", got)
				}
			})
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	inBubble(t, 1, nil, func(t *testing.T, b *bench) {
		b.book.providers["ollama"].ConnectTimeout = 3 * time.Second
		b.proxy.upstreams.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		a := b.do(b.request("POST", "/v1/chat/completions", askWhole))
		if at := time.Since(start); a.status != 502 || at != 3*time.Second || b.book.classes()[0] != provider.LocalError {
			t.Errorf("%d after %v, settled %v", a.status, at, b.book.classes())
		}
	})
}

// A hang-up cancels the upstream within 100 ms, and no key is blamed.
func TestPredecessor_A16(t *testing.T) {
	for _, row := range []struct {
		why      string
		ask      string
		upstream func(w http.ResponseWriter)
	}{
		{"before the headers", askWhole, func(http.ResponseWriter) {}},
		{"within a stream", askStream, func(w http.ResponseWriter) { sendStream(w, chunk("a")) }},
		{"within an answer", askWhole, func(w http.ResponseWriter) {
			sendJSON(w, 200, `{"choices"`)
			_ = http.NewResponseController(w).Flush()
		}},
		{"while comments are held", askStream, func(w http.ResponseWriter) { sendStream(w, ": x\n\n") }},
	} {
		t.Run(row.why, func(t *testing.T) {
			var gone time.Time
			inBubble(t, 2, func(w http.ResponseWriter, r *http.Request) {
				row.upstream(w)
				forever(r)
				gone = time.Now()
			}, func(t *testing.T, b *bench) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(2*time.Second, cancel)
				start := time.Now()
				resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", row.ask).WithContext(ctx))
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					_ = resp.Body.Close()
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				if at := gone.Sub(start); at < 2*time.Second || at > 2100*time.Millisecond {
					t.Errorf("the upstream was cancelled after %v", at)
				}
				if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.Canceled}) {
					t.Errorf("settled %v", got)
				}
				if got := b.book.ends(); !slices.Equal(got, []leases.End{leases.EndCanceled}) {
					t.Errorf("ends %v", got)
				}
			})
		})
	}
}

func TestAStalledClientIsGivenUp(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			sendStream(w, chunk(strings.Repeat("x", 4000)))
		}
	}, func(t *testing.T, b *bench) {
		resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", askStream))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // reads nothing
		synctest.Wait()
		if got := b.book.ends(); !slices.Equal(got, []leases.End{leases.EndCanceled}) {
			t.Errorf("ends %v", got)
		}
		if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.Canceled}) {
			t.Errorf("settled %v", got)
		}
		_ = resp.Body.Close()
	})
}

// panicky fails in the middle of what it passes on.
type panicky struct {
	http.ResponseWriter
	writes int
}

func (p *panicky) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *panicky) Write(b []byte) (int, error) {
	if p.writes++; p.writes == 2 {
		panic("in the middle of it")
	}
	return p.ResponseWriter.Write(b)
}

func TestAPanicWithinAStreamCutsIt(t *testing.T) {
	b := newBench(t, 2, func(w http.ResponseWriter, _ *http.Request) {
		sendStream(w, chunk("a"))
		time.Sleep(20 * time.Millisecond)
		sendStream(w, chunk("b"), finish, doneEvent)
	})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.proxy.ServeHTTP(&panicky{ResponseWriter: w}, r)
	}))
	defer front.Close()
	b.url = front.URL
	a := b.chat(askStream)
	if a.status != 200 || a.err == nil || a.body != chunk("a") {
		t.Errorf("got %+v", a)
	}
	if got := b.metric("apipool_panics_total", ""); got != 1 || len(b.book.settled) != 1 {
		t.Errorf("%v panics counted, settled %v", got, b.book.classes())
	}
}
