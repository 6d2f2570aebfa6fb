package proxy

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

func TestTheBodyGoesUpByteForByte(t *testing.T) {
	const body = "{ \"model\" : \"m\",\"x\":1e400, \"x\":1,\n\"messages\":[{\"role\":\"user\",\"content\":\"h\\u0069\"}],\"stream\":false }\n"
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if string(got) != body || r.ContentLength != int64(len(body)) || r.URL.RequestURI() != "/v1/chat/completions" {
			t.Errorf("got %q (%d) at %s", got, r.ContentLength, r.URL)
		}
		sendJSON(w, 200, goodWhole)
	})
	a := b.do(b.request("POST", "/v1/chat/completions?key=secret", body))
	if a.status != 200 || a.body != goodWhole || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %+v", a)
	}
	if got := a.header.Get("X-Pool-Attempts") + a.header.Get("X-Pool-Region") + a.header.Get("X-Pool-Key"); !strings.HasPrefix(got, "1herek_") {
		t.Errorf("route headers: %s", got)
	}
	if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.OK}) {
		t.Errorf("settled %v", got)
	}
}

// Headers pass by allow-list, and the User-Agent is honest.
func TestPredecessor_C16(t *testing.T) {
	var got http.Header
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("X-Generation-Id", "gen")
		w.Header().Set("Openai-Processing-Ms", "leak "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.Header().Set("X-Upstream", "x")
		sendJSON(w, 200, goodWhole)
	})
	b.book.providers["ollama"].Headers = map[string]string{"x-from-operator": "1", "Host": "evil", "Authorization": "Bearer other"}
	a := b.chat(askWhole, "Cookie", "c=1", "X-Forwarded-For", "1.2.3.4", "X-Api-Key", clientToken, "Accept", "application/json",
		"Anthropic-Version", "1", "OpenAI-Beta", "2", "HTTP-Referer", "http://me", "X-Title", "t", "Idempotency-Key", "k",
		"X-Stainless-Lang", "js", "X-Goog-Api-Key", "g", "User-Agent", "me/1", "Accept-Encoding", "gzip")
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{
		"Accept", "Anthropic-Version", "Authorization", "Content-Length", "Content-Type", "Http-Referer", "Idempotency-Key",
		"Openai-Beta", "User-Agent", "X-From-Operator", "X-Title",
	}
	if !slices.Equal(names, want) {
		t.Errorf("went up: %q", names)
	}
	if got.Get("User-Agent") != "me/1" || !strings.HasPrefix(got.Get("Authorization"), "Bearer "+keyCanary) {
		t.Errorf("went up: %q", got)
	}
	if a.header.Get("Set-Cookie")+a.header.Get("X-Upstream")+a.header.Get("Openai-Processing-Ms") != "" || a.header.Get("X-Generation-Id") != "gen" {
		t.Errorf("came down: %q", a.header)
	}
	b.chat(askWhole, "User-Agent", "")
	if !strings.HasPrefix(got.Get("User-Agent"), "Go-http-client") && got.Get("User-Agent") != "ollama-api-pool/9.9" {
		t.Errorf("User-Agent is made up: %s", got.Get("User-Agent"))
	}
}

// What the upstream shows to the first key, or to all of them, and what comes of it.
func TestFailover(t *testing.T) {
	const ok, all = 200, true
	status := func(code int, pairs ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				w.Header().Set(pairs[i], pairs[i+1])
			}
			sendJSON(w, code, `{"error":{"message":"said by CANARYKEY-ollama-a0123456789 at http://10.0.0.1/x"}}`)
		}
	}
	says := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, code, body) }
	}
	stream := func(pieces ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { sendStream(w, pieces...) }
	}
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_ = c.Close()
	}
	for _, row := range []struct {
		why      string
		upstream http.HandlerFunc
		all      bool // every key meets it
		provider string
		ask      string
		calls    int
		status   int
		code     string
		retry    string
		class    provider.Class // of the first attempt
		end      leases.End
	}{
		{"401 tries the next key", status(401), !all, "", askWhole, 2, ok, "", "", provider.AuthRejected, leases.EndOK},
		{"401 from all keys is 503, never 401", status(401), all, "", askWhole, 4, 503, "upstream_credentials_exhausted", "30", provider.AuthRejected, leases.EndUnavailable},
		{"402 tries the next key", status(402), !all, "", askWhole, 2, ok, "", "", provider.Quota, leases.EndOK},
		{"402 from all keys is 503 with Retry-After", status(402, "Retry-After", "20"), all, "", askWhole, 4, 503, "upstream_quota_exhausted", "20", provider.Quota, leases.EndUnavailable},
		{"403 about the key is as 401", says(403, `{"error":"key revoked"}`), all, "", askWhole, 4, 503, "upstream_credentials_exhausted", "30", provider.AuthRejected, leases.EndUnavailable},
		{"403 that no rule knows tries one other key", status(403), all, "", askWhole, 2, 403, "", "", provider.Forbidden, leases.EndClientError},
		{"OpenRouter's 403 tries no other", status(403), all, "openrouter", askWhole, 1, 403, "", "", provider.Forbidden, leases.EndClientError},
		{"403 about the model tries others", says(403, `{"error":"this model requires a subscription"}`), all, "", askWhole, 3, 403, "", "", provider.Forbidden, leases.EndClientError},
		{"404 of the model tries no other", says(404, `{"error":{"message":"model 'x' not found"}}`), all, "", askWhole, 1, 404, "model_not_found", "", provider.ClientError, leases.EndClientError},
		{"400 tries no other", status(400), all, "", askWhole, 1, 400, "", "", provider.ClientError, leases.EndClientError},
		{"413 tries no other", status(413), all, "", askWhole, 1, 413, "", "", provider.ClientError, leases.EndClientError},
		{"422 tries no other", status(422), all, "", askWhole, 1, 422, "", "", provider.ClientError, leases.EndClientError},
		{"409 tries three keys", status(409), all, "", askWhole, 3, 503, "upstream_unavailable", "5", provider.LocalError, leases.EndUnavailable},
		{"429 tries the next key", status(429), !all, "", askWhole, 2, ok, "", "", provider.RateLimited, leases.EndOK},
		{"429 from all keys is 429 with their Retry-After", status(429, "Retry-After", "17"), all, "", askWhole, 4, 429, "rate_limit_exceeded", "17", provider.RateLimited, leases.EndLimited},
		{"a longer Retry-After is told in words", status(429, "Retry-After", "3600"), all, "", askWhole, 4, 429, "rate_limit_exceeded", "60", provider.RateLimited, leases.EndLimited},
		{"500 tries the next key", status(500), !all, "", askWhole, 2, ok, "", "", provider.ServerError, leases.EndOK},
		{"500 from all is 502 after three tries", status(500), all, "", askWhole, 3, 502, "upstream_error", "", provider.ServerError, leases.EndUpstreamError},
		{"503 from all is 503 after three tries", status(503, "Retry-After", "7"), all, "", askWhole, 3, 503, "upstream_unavailable", "7", provider.ServerError, leases.EndUnavailable},
		{"529 likewise", status(529), all, "", askWhole, 3, 503, "upstream_unavailable", "5", provider.ServerError, leases.EndUnavailable},
		{"a redirect is never followed", status(302, "Location", "/elsewhere"), all, "", askWhole, 1, 502, "upstream_misconfigured", "", provider.LocalError, leases.EndUpstreamError},
		{"a cut before the headers tries the next key", hangUp, !all, "", askWhole, 2, ok, "", "", provider.LocalError, leases.EndOK},
		{"cuts from all are 502", hangUp, all, "", askWhole, 3, 502, "upstream_unreachable", "", provider.LocalError, leases.EndUpstreamError},
		{"a 200 with HTML tries the next key", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }, !all, "", askWhole, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a 200 with an error inside tries the next key", says(200, `{"error":{"message":"x"}}`), !all, "", askWhole, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a 200 with a limit inside is a limit", says(200, `{"error":{"code":429,"message":"x"}}`), !all, "openrouter", askWhole, 2, ok, "", "", provider.RateLimited, leases.EndOK},
		{"a 200 with half an answer tries the next key", says(200, `{"choices":[`), all, "", askWhole, 3, 502, "upstream_error", "", provider.Broken, leases.EndUpstreamError},
		{"a 200 that nobody asked to compress tries the next key", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			sendJSON(w, 200, goodWhole)
		}, !all, "", askWhole, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a stream that begins with an error tries the next key", stream(": hi\n\n", event(`{"error":{"message":"x"}}`)), !all, "", askStream, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a stream that begins with a client's error goes to the client", stream(event(`{"error":{"code":400,"message":"x"}}`)), all, "openrouter", askStream, 1, 400, "", "", provider.ClientError, leases.EndClientError},
		{"an empty stream tries the next key", stream(), !all, "", askStream, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a stream of nothing but DONE tries the next key", stream(doneEvent), all, "", askStream, 3, 502, "upstream_error", "", provider.Broken, leases.EndUpstreamError},
		{"a stream whose first event is no JSON tries the next key", stream(event("hello")), !all, "", askStream, 2, ok, "", "", provider.Broken, leases.EndOK},
		{"a stream of nothing but comments tries the next key", stream(": a\n", ": b\n\n"), !all, "", askStream, 2, ok, "", "", provider.Broken, leases.EndOK},
	} {
		t.Run(row.why, func(t *testing.T) {
			var calls atomic.Int32
			var seen atomic.Pointer[[]string]
			seen.Store(&[]string{})
			b := newBench(t, 4, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				body, _ := io.ReadAll(r.Body)
				if string(body) != row.ask {
					t.Errorf("body changed: %q", body)
				}
				keys := append(slices.Clone(*seen.Load()), keyOf(r))
				seen.Store(&keys)
				switch {
				case row.all || keyOf(r) == "a":
					row.upstream(w, r)
				case strings.Contains(string(body), `"stream":true`):
					sendStream(w, goodStream)
				default:
					sendJSON(w, 200, goodWhole)
				}
			})
			path := "/v1/chat/completions"
			if row.provider != "" {
				path = "/" + row.provider + path
			}
			a := b.do(b.request("POST", path, row.ask))
			if int(calls.Load()) != row.calls {
				t.Errorf("%d calls, want %d", calls.Load(), row.calls)
			}
			if keys := slices.Sorted(slices.Values(*seen.Load())); len(slices.Compact(keys)) != row.calls {
				t.Errorf("a key was tried twice: %q", *seen.Load())
			}
			if a.status != row.status || a.code() != row.code || a.header.Get("Retry-After") != row.retry {
				t.Errorf("got %d %q Retry-After %q: %s", a.status, a.code(), a.header.Get("Retry-After"), a.body)
			}
			if strings.Contains(a.body, "10.0.0.1") || strings.Contains(a.body, "127.0.0.1") {
				t.Errorf("an address got out: %s", a.body)
			}
			if got := b.book.classes(); got[0] != row.class {
				t.Errorf("settled %v", got)
			}
			if got := b.book.ends(); got[0] != row.end {
				t.Errorf("end %v, want %v", got, row.end)
			}
			if pointless := a.header.Get("X-Should-Retry") == "false"; pointless != (row.retry == "60" || strings.HasSuffix(row.code, "_exhausted") && row.retry == "30" || row.code == "upstream_misconfigured") {
				t.Errorf("x-should-retry: false is %v", pointless)
			}
		})
	}
}

// Keys that are limited give way to one that is not; if all are, the client gets the smallest Retry-After.
func TestPredecessor_A4(t *testing.T) {
	var calls atomic.Int32
	b := newBench(t, 3, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if keyOf(r) != "c" {
			w.Header().Set("Retry-After", map[string]string{"a": "30", "b": "12"}[keyOf(r)])
			sendJSON(w, 429, `{}`)
			return
		}
		sendJSON(w, 200, goodWhole)
	})
	if a := b.chat(askWhole); a.status != 200 || calls.Load() != 3 {
		t.Errorf("%d after %d calls", a.status, calls.Load())
	}
	for i, want := range []time.Duration{30 * time.Second, 12 * time.Second, 0} {
		if got := b.book.settled[i].Verdict.RetryAfter; got != want {
			t.Errorf("key %d waits %v, want %v", i, got, want)
		}
	}
	b.book.mu.Lock()
	b.book.keys["ollama"] = b.book.keys["ollama"][:2]
	b.book.mu.Unlock()
	if a := b.chat(askWhole); a.status != 429 || a.header.Get("Retry-After") != "12" {
		t.Errorf("got %d with Retry-After %s, want the smallest", a.status, a.header.Get("Retry-After"))
	}
}

func TestEightKeysAtMostInOneRequest(t *testing.T) {
	var calls atomic.Int32
	b := newBench(t, 20, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		sendJSON(w, 401, `{}`)
	})
	if a := b.chat(askWhole); a.status != 503 || calls.Load() != 8 {
		t.Errorf("%d after %d calls", a.status, calls.Load())
	}
}

func TestNoKey(t *testing.T) {
	for _, row := range []struct {
		cause  string
		wait   time.Duration
		status int
		code   string
		retry  string
	}{
		{leases.CauseNone, 0, 503, "no_upstream_keys", "60"},
		{leases.CauseCooling, 1500 * time.Millisecond, 429, "rate_limit_exceeded", "2"},
		{leases.CauseCooling, 0, 429, "rate_limit_exceeded", "5"},
		{leases.CauseCooling, 72 * time.Hour, 429, "rate_limit_exceeded", "60"},
		{leases.CauseOut, 0, 503, "upstream_credentials_exhausted", "30"},
		{leases.CauseModel, 0, 404, "model_not_found", ""},
		{leases.CauseTried, 0, 503, "no_upstream_key", "1"},
	} {
		b := newBench(t, 0, func(http.ResponseWriter, *http.Request) { t.Error("an upstream call") })
		b.book.noKey = &leases.NoKeyError{Cause: row.cause, RetryAfter: row.wait}
		a := b.chat(askWhole)
		if a.status != row.status || a.code() != row.code || a.header.Get("Retry-After") != row.retry {
			t.Errorf("%s: got %d %s Retry-After %q", row.cause, a.status, a.code(), a.header.Get("Retry-After"))
		}
		if row.wait > time.Hour && (a.header.Get("X-Should-Retry") != "false" || !strings.Contains(a.body, "72h0m0s")) {
			t.Errorf("the true time is not told: %s", a.body)
		}
	}
}

func TestAKeyThatWentOutBeforeDispatchIsNotUsed(t *testing.T) {
	b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if keyOf(r) == "a" {
			t.Error("the key was used")
		}
		sendJSON(w, 200, goodWhole)
	})
	b.book.keys["ollama"][0].unusable = true
	if a := b.chat(askWhole); a.status != 200 || b.book.returned != 1 {
		t.Errorf("%d, %d returned", a.status, b.book.returned)
	}
}

func TestTheRetryBudgetBoundsAmplification(t *testing.T) {
	var calls atomic.Int32
	b := newBench(t, 4, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		sendJSON(w, 500, `{}`)
	})
	now := time.Now()
	b.proxy.now = func() time.Time { return now }
	for range 200 {
		b.chat(askWhole)
		b.proxy.upstreams.byID["ollama"].throttle.failed.reset()
	}
	if got := calls.Load(); got > 240 || got < 205 {
		t.Errorf("%d calls for 200 requests", got)
	}
}

func TestLargeAnswersPass(t *testing.T) {
	large := `{"choices":[{"message":{"content":"` + strings.Repeat("x", 3<<20) + `"}}]}`
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, large) })
	if a := b.chat(askWhole); a.body != large || a.header.Get("Content-Length") != strconv.Itoa(len(large)) {
		t.Errorf("got %d bytes", len(a.body))
	}
	free := b.proxy.bodies.free.Load()
	b.proxy.bodies.take(free - 64<<10) // next to no room: it goes on without being read first
	if a := b.chat(askWhole); a.body != large || a.err != nil {
		t.Errorf("got %d bytes, %v", len(a.body), a.err)
	}
	b.proxy.bodies.give(free - 64<<10)
	if b.proxy.bodies.free.Load() != free {
		t.Error("memory was not given back")
	}
}

// A panic anywhere: 500 as JSON with the request id, counted, and the process lives on.
func TestPredecessor_A19(t *testing.T) {
	for at := int32(2); at <= 8; at++ { // wherever it happens, up to the middle of an attempt
		b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 500, `{}`) })
		var calls atomic.Int32
		b.proxy.now = func() time.Time {
			if calls.Add(1) == at {
				panic("with " + keyCanary + " in it")
			}
			return time.Now()
		}
		a := b.chat(askWhole)
		if a.status != 500 || a.code() != "internal_error" || !strings.Contains(a.body, a.header.Get("X-Request-Id")) {
			t.Errorf("at %d: got %+v", at, a)
		}
		if a := b.chat(askWhole); a.status != 502 {
			t.Errorf("the process does not live on: %+v", a)
		}
		if got := b.metric("apipool_panics_total", ""); got != 1 {
			t.Errorf("%v panics counted", got)
		}
		if got := b.metric("apipool_in_flight", ""); got != 0 {
			t.Errorf("%v in flight", got)
		}
	}
}
