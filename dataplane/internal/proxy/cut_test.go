package proxy

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// An operator cuts off what is under way with the first key a second after it has begun.
func TestARequestIsCutOff(t *testing.T) {
	start := chunk("a")
	for _, row := range []struct {
		why      string
		ask      string
		upstream http.HandlerFunc // with the first key; the second serves
		keys     int
		status   int
		body     string // ends with; empty: the connection is cut
		cut      bool
		class    provider.Class
	}{
		{
			"before the headers", askWhole, func(_ http.ResponseWriter, r *http.Request) { forever(r) },
			2, 200, goodWhole, false, provider.Canceled,
		},
		{
			"before the headers, with no other key", askWhole, func(_ http.ResponseWriter, r *http.Request) { forever(r) },
			1, 503, "", false, provider.Canceled,
		},
		{
			"in the middle of an answer that is no stream", askWhole, func(w http.ResponseWriter, r *http.Request) {
				sendEvents(w, "application/json", goodWhole[:20])
				forever(r)
			},
			2, 200, goodWhole, false, provider.Canceled,
		},
		{
			"before the first event", askStream, func(w http.ResponseWriter, r *http.Request) {
				sendStream(w, ": OPENROUTER PROCESSING\n\n")
				forever(r)
			},
			2, 200, doneEvent, false, provider.Canceled,
		},
		{
			"in the middle of a stream", askStream, func(w http.ResponseWriter, r *http.Request) {
				sendStream(w, start)
				forever(r)
			},
			2, 200, "\n\n", true, provider.Truncated,
		},
	} {
		t.Run(row.why, func(t *testing.T) {
			inBubble(t, row.keys, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case keyOf(r) == "a":
					row.upstream(w, r)
				case row.ask == askStream:
					sendStream(w, goodStream)
				default:
					sendJSON(w, 200, goodWhole)
				}
			}, func(t *testing.T, b *bench) {
				b.book.keys["ollama"][0].watched = func(cut context.CancelCauseFunc) {
					time.AfterFunc(time.Second, func() { cut(leases.ErrCut) })
				}
				began := time.Now()
				a := b.chat(row.ask)
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				if a.status != row.status || !strings.HasSuffix(a.body, row.body) || (a.err != nil) != row.cut {
					t.Errorf("got %d %q, %v", a.status, a.body, a.err)
				}
				if row.cut && (!strings.HasPrefix(a.body, start) || !strings.Contains(a.body, `"upstream_truncated"`) || strings.Contains(a.body, "[DONE]")) {
					t.Errorf("a stream that is cut off says %q", a.body)
				}
				if row.status == 503 && (a.header.Get("Retry-After") == "" || a.code() == "") {
					t.Errorf("got %v %s", a.header, a.body)
				}
				if got := b.book.classes(); len(got) == 0 || got[0] != row.class {
					t.Errorf("settled as %v, want %v first", got, row.class)
				}
			})
		})
	}
}

func TestAKeyThatIsForbiddenAtTheLastMomentIsNotUsed(t *testing.T) {
	var used []string
	b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
		used = append(used, keyOf(r))
		if strings.HasSuffix(r.URL.Path, "/models") || strings.HasSuffix(r.URL.Path, "/tags") {
			sendJSON(w, 200, `{"data":[{"id":"m"}],"models":[{"name":"m"}]}`)
			return
		}
		sendJSON(w, 200, goodWhole)
	})
	b.book.keys["ollama"][0].forbidden = true
	if a := b.chat(askWhole); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if a := b.do(b.request("GET", "/v1/models", "")); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if !slices.Equal(used, []string{"b", "b"}) || b.book.returned != 2 {
		t.Errorf("used were %v, and %d loans returned", used, b.book.returned)
	}
}

func TestADrainingNodeTakesNoNewRequests(t *testing.T) {
	var draining atomic.Bool
	release := make(chan struct{})
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		sendStream(w, chunk("a"))
		<-release
		sendStream(w, finish, doneEvent)
	})
	b.proxy.draining = draining.Load
	resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", askStream))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.ReadFull(resp.Body, make([]byte, 1)) // it runs
	draining.Store(true)
	for _, row := range []struct{ path, ask, says string }{
		{"/v1/chat/completions", askWhole, `"code":"draining"`},
		{"/v1/messages", askWhole, `"type":"error"`},
		{"/api/chat", askWhole, `{"error":"`},
	} {
		resp, err := b.client.Do(b.request("POST", row.path, row.ask))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "1" || !resp.Close || !strings.Contains(string(body), row.says) {
			t.Errorf("%s: %d %v %s, and the connection is to be closed: %v", row.path, resp.StatusCode, resp.Header, body, resp.Close)
		}
	}
	close(release)
	if rest, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(rest), doneEvent) {
		t.Errorf("what was running ended with %q, %v", rest, err)
	}
	draining.Store(false)
	if a := b.chat(askStream); a.status != 200 {
		t.Errorf("after the drain: %d", a.status)
	}
}
