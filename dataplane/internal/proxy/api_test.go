package proxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/origin"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

func noCalls(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) { t.Errorf("an upstream call: %s", r.URL) }
}

func TestPathsAndMethods(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	for _, row := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/", 200, ""},
		{"HEAD", "/", 200, ""},
		{"POST", "/", 405, "GET, HEAD, OPTIONS"},
		{"GET", "/health", 200, ""},
		{"GET", "/v1/chat/completions", 405, "POST, OPTIONS"},
		{"DELETE", "/openrouter/v1/chat/completions", 405, "POST, OPTIONS"},
		{"HEAD", "/v1/models", 405, "GET, OPTIONS"},
		{"GET", "/v1/nothing", 404, ""},
		{"GET", "/v1/key", 404, ""},
		{"POST", "/openrouter/health", 404, ""},
		{"GET", "/v1/models/", 404, ""},
		{"GET", "/v1/models//m", 404, ""},
		{"GET", "/v1/models/../key", 404, ""},
		{"GET", "/v1/models/%2e%2e/key", 404, ""},
		{"GET", "/v1%2fmodels/m", 404, ""},
		{"POST", "/v1/models/m", 405, "GET, OPTIONS"},
		{"POST", "/unknown/v1/chat/completions", 404, ""},
		{"POST", "/Ollama/v1/chat/completions", 404, ""},
		{"POST", "//v1/chat/completions", 404, ""},
		{"POST", "/v1/chat%2fcompletions", 404, ""},
		{"POST", "/ollama/../v1/chat/completions", 404, ""},
		{"TRACE", "/v1/models", 405, "GET, OPTIONS"},
	} {
		a := b.do(b.request(row.method, row.path, ""))
		if a.status != row.status || a.header.Get("Allow") != row.allow {
			t.Errorf("%s %s: got %d, Allow %q", row.method, row.path, a.status, a.header.Get("Allow"))
		}
		if row.status >= 400 && row.method != "HEAD" && !strings.HasPrefix(a.body, `{"error":{"message":"`) {
			t.Errorf("%s %s: %s", row.method, row.path, a.body)
		}
	}
	for _, path := range []string{ // of Ollama's own API, what would change the server or show whose key it is
		"/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/sha256:0", "/api/me", "/openrouter/api/pull",
	} {
		for _, method := range []string{"GET", "POST", "DELETE", "HEAD"} {
			if a := b.do(b.request(method, path, askWhole)); a.status != 404 || method != "HEAD" && a.body != `{"error":"There is nothing at this path."}` {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if a := b.do(b.request("GET", "/", "", "Authorization", "")); a.body != "Ollama is running" {
		t.Errorf("greets with %q", a.body)
	}
	if a := b.do(b.request("GET", "/health", "", "Authorization", "")); a.body != `{"status":"ok","region":"here","version":"9.9"}` {
		t.Errorf("health: %s", a.body)
	}
	b.book.ready = leases.ErrNeverSynced
	if a := b.do(b.request("GET", "/health", "")); a.status != 200 || !strings.Contains(a.body, "degraded") {
		t.Errorf("health: %s", a.body)
	}
}

func TestWhoMayAsk(t *testing.T) {
	const stranger = "sk-stranger-0123456789abc"
	for _, row := range []struct {
		why    string
		set    func(*fakeBook)
		header []string
		path   string
		status int
		code   string
	}{
		{"no credential", nil, []string{"Authorization", ""}, "/v1/models", 401, "invalid_api_key"},
		{"an unknown token", nil, []string{"Authorization", "Bearer " + stranger}, "/v1/models", 401, "invalid_api_key"},
		{"a malformed token", nil, []string{"Authorization", "Bearer sk-pool-short"}, "/v1/models", 401, "invalid_api_key"},
		{"another scheme", nil, []string{"Authorization", "Basic abc"}, "/v1/models", 401, "invalid_api_key"},
		{"a stranger is not told which providers there are", nil, []string{"Authorization", ""}, "/unknown/v1/models", 401, "invalid_api_key"},
		{"two that differ", nil, []string{"X-Api-Key", stranger}, "/v1/models", 400, "ambiguous_credentials"},
		{"unknown while the control plane is away", func(b *fakeBook) { b.stale = true }, []string{"Authorization", "Bearer " + stranger}, "/v1/models", 503, "node_not_ready"},
		{"malformed even then", func(b *fakeBook) { b.stale = true }, []string{"Authorization", "Bearer nonsense"}, "/v1/models", 401, "invalid_api_key"},
		{"an expired token", func(b *fakeBook) {
			b.tokens[tokens.Digest(clientToken)].ExpireTime = time.Now().Add(-time.Second)
		}, nil, "/v1/models", 401, "invalid_api_key"},
		{"a provider that the token does not allow", func(b *fakeBook) {
			b.tokens[tokens.Digest(clientToken)].Providers = []string{"other"}
		}, nil, "/v1/models", 403, "not_allowed"},
		{"a disabled provider", func(b *fakeBook) { b.providers["ollama"].Enabled = false }, nil, "/v1/models", 503, "provider_disabled"},
		{"a provider at an address of no use", func(b *fakeBook) { b.providers["ollama"].BaseURL = "ftp://x" }, nil, "/v1/models", 502, "upstream_misconfigured"},
		{"plain http to where private addresses are not allowed", func(b *fakeBook) { b.providers["ollama"].AllowPrivateAddresses = false }, nil, "/v1/models", 502, "upstream_misconfigured"},
		{"a node without lease", func(b *fakeBook) { b.ready = leases.ErrLeaseOver }, nil, "/v1/models", 503, "node_not_ready"},
	} {
		t.Run(row.why, func(t *testing.T) {
			b := newBench(t, 1, noCalls(t))
			if row.set != nil {
				row.set(b.book)
			}
			a := b.do(b.request("GET", row.path, "", row.header...))
			if a.status != row.status || a.code() != row.code {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if (a.status == 503) != (a.header.Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
			}
			if row.status == 401 && a.body != string(openAIError(problemUnauthorized)) {
				t.Errorf("the text differs: %s", a.body)
			}
			if row.status == 401 && b.book.arrived != 0 {
				t.Error("a stranger was counted")
			}
		})
	}
}

func TestDuplicateAuthorizationIsRefused(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	r := b.request("GET", "/v1/models", "")
	r.Header["Authorization"] = []string{"Bearer " + clientToken, "Bearer " + clientToken}
	if a := b.do(r); a.status != 400 {
		t.Errorf("got %d", a.status)
	}
}

func TestAnAPIKeyHeaderIsAToken(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	if a := b.chat(askWhole, "Authorization", "", "X-Api-Key", clientToken); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

// Bad bodies are answered 400, 403, 413 or 415 with stable codes and no internal text.
func TestPredecessor_A18(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	b.proxy.maxBody = 1000
	b.book.tokens[tokens.Digest(clientToken)].Models = []string{"m*"}
	for _, row := range []struct {
		why, body string
		header    []string
		status    int
		code      string
	}{
		{"nothing", "", nil, 400, "invalid_json"},
		{"null", "null", nil, 400, "invalid_json"},
		{"a list", "[]", nil, 400, "invalid_json"},
		{"half an object", `{"model":"m"`, nil, 400, "invalid_json"},
		{"two objects", `{"model":"m"}{}`, nil, 400, "invalid_json"},
		{"no model", `{}`, nil, 400, "invalid_parameter"},
		{"an empty model", `{"model":""}`, nil, 400, "invalid_parameter"},
		{"a model that is a number", `{"model":1}`, nil, 400, "invalid_parameter"},
		{"a stream that is a string", `{"model":"m","stream":"yes"}`, nil, 400, "invalid_parameter"},
		{"a name in another spelling", `{"model":"m","MODEL":"other"}`, nil, 400, "invalid_parameter"},
		{"a name that folds to it", `{"model":"m","\u017ftream":true}`, nil, 400, "invalid_parameter"},
		{"too deep", `{"model":"m","x":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, nil, 400, "invalid_json"},
		{"too large", `{"model":"` + strings.Repeat("m", 1000) + `"}`, nil, 413, "request_too_large"},
		{"compressed", askWhole, []string{"Content-Encoding", "gzip"}, 415, "unsupported_encoding"},
		{"a form", askWhole, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"},
		{"text", askWhole, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"a model that the token does not allow", `{"model":"other"}`, nil, 403, "not_allowed"},
		{"the last of two models counts", `{"model":"m","model":"other"}`, nil, 403, "not_allowed"},
	} {
		r := b.request("POST", "/v1/chat/completions", row.body, row.header...)
		if a := b.do(r); a.status != row.status || a.code() != row.code {
			t.Errorf("%s: got %d %s", row.why, a.status, a.body)
		}
		if row.status != 413 {
			continue
		}
		r = b.request("POST", "/v1/chat/completions", row.body)
		r.ContentLength = -1
		if a := b.do(r); a.status != 413 {
			t.Errorf("%s, without telling: got %d %v", row.why, a.status, a.err)
		}
	}
}

func TestBodiesThatAreTaken(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	b.proxy.maxBody = 100 << 10
	for _, row := range []struct {
		why, body string
		header    []string
	}{
		{"no content type", askWhole, []string{"Content-Type", ""}},
		{"a content type with parameters", askWhole, []string{"Content-Type", "application/json; charset=utf-8"}},
		{"identity", askWhole, []string{"Content-Encoding", "identity"}},
		{"a null stream", `{"model":"m","stream":null}`, nil},
		{"a large number in an unknown field", `{"model":"m","x":1e400}`, nil},
		{"spaces around", " \n{\"model\":\"m\"}\n ", nil},
		{"as large as can be", `{"model":"m","x":"` + strings.Repeat("x", 100<<10-20) + `"}`, nil},
	} {
		for _, length := range []bool{true, false} {
			r := b.request("POST", "/v1/chat/completions", row.body, row.header...)
			if !length {
				r.ContentLength = -1
			}
			if a := b.do(r); a.status != 200 {
				t.Errorf("%s (length told: %v): got %d %s", row.why, length, a.status, a.body)
			}
		}
	}
	if b.proxy.bodies.free.Load() != bodyMemory() {
		t.Error("memory was not given back")
	}
	b.proxy.bodies = newMemory(100)
	if a := b.chat(`{"model":"` + strings.Repeat("m", 200) + `"}`); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("without memory: got %d %s", a.status, a.body)
	}
}

func TestSlowBodiesAreGivenUp(t *testing.T) {
	inBubble(t, 1, noCalls(t), func(t *testing.T, b *bench) {
		r := b.request("POST", "/v1/chat/completions", "")
		r.Body, r.ContentLength = neverEnding{t.Context().Done()}, 100
		if a := b.do(r); a.status != http.StatusRequestTimeout || a.code() != "slow_body" {
			t.Errorf("got %+v", a)
		}
		time.Sleep(time.Second) // net/http waits for half of one before it lets the connection go
	})
}

type neverEnding struct{ done <-chan struct{} }

func (n neverEnding) Read([]byte) (int, error) {
	select {
	case <-n.done:
	case <-time.After(10 * time.Minute):
	}
	return 0, errors.New("given up")
}
func (n neverEnding) Close() error { return nil }

func TestCORS(t *testing.T) {
	for _, row := range []struct {
		why     string
		origins []string
		origin  string
		allowed string
	}{
		{"all by default", nil, "https://a.example", "*"},
		{"a star", []string{"*"}, "https://a.example", "*"},
		{"one that is listed", []string{"https://a.example"}, "https://a.example", "https://a.example"},
		{"one that is not", []string{"https://a.example"}, "https://b.example", ""},
		{"none", []string{}, "https://a.example", ""},
		{"no browser", nil, "", ""},
	} {
		t.Run(row.why, func(t *testing.T) {
			b := newBench(t, 1, noCalls(t))
			b.proxy.cors = newCORSPolicy(row.origins)
			a := b.do(b.request("OPTIONS", "/v1/chat/completions", "", "Authorization", "", "Origin", row.origin,
				"Access-Control-Request-Method", "POST",
				"Access-Control-Request-Headers", "authorization, X-Stainless-OS,anthropic-version, bad name, a\"b,"+strings.Repeat("x", 100)))
			if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != row.allowed {
				t.Errorf("got %d %v", a.status, a.header)
			}
			want := ""
			if row.allowed != "" {
				want = "authorization, x-stainless-os, anthropic-version"
			}
			if got := a.header.Get("Access-Control-Allow-Headers"); got != want {
				t.Errorf("headers %q", got)
			}
			if a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("with credentials")
			}
			a = b.do(b.request("GET", "/v1/models", "", "Authorization", "", "Origin", row.origin))
			if a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != row.allowed {
				t.Errorf("an error: %d %v", a.status, a.header)
			}
		})
	}
	b := newBench(t, 1, noCalls(t))
	if a := b.do(b.request("OPTIONS", "/nothing", "", "Origin", "https://a.example")); a.status != 404 {
		t.Errorf("an unknown path: %d", a.status)
	}
}

// Every route but the open ones is 401 without a token, and causes no upstream call.
func TestPredecessor_C2(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	for _, rt := range routes {
		for _, prefix := range []string{"", "/openrouter", "/unknown"} {
			if rt.open || prefix != "" && !rt.named {
				continue
			}
			path := prefix + rt.path
			if rt.rest {
				path += "some/model"
			}
			b.proxy.failures = origin.NewFailures(time.Now, 0) // or the tenth would be answered late
			if a := b.do(b.request(rt.method, path, askWhole, "Authorization", "")); a.status != 401 {
				t.Errorf("%s %s%s: %d", rt.method, prefix, rt.path, a.status)
			}
		}
	}
}

func TestAKeyGoesToItsOwnProviderOnly(t *testing.T) {
	b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
		if want := r.Header.Get("X-Provider"); !strings.Contains(r.Header.Get("Authorization"), "-"+want+"-") {
			t.Errorf("%s got %s", want, r.Header.Get("Authorization"))
		}
		sendJSON(w, 200, goodWhole)
	})
	for id, p := range b.book.providers {
		p.Headers = map[string]string{"X-Provider": id}
	}
	for range 20 {
		for _, id := range []string{"ollama", "openrouter", "other"} {
			if a := b.do(b.request("POST", "/"+id+"/v1/chat/completions", askWhole)); a.status != 200 {
				t.Errorf("%s: %d", id, a.status)
			}
		}
	}
	served := slices.Clone(b.book.served)
	if len(served) != 60 || served[1].Provider != "openrouter" || served[1].Token != 7 || served[1].Model != "m" {
		t.Errorf("served %+v", served[1])
	}
}

func TestWhatCurlSaysOfABodyByDefaultIsTakenForJSON(t *testing.T) {
	from := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if got := upHeaders(from, &provider.Provider{}, "agent", true).Get("Content-Type"); got != "application/json" {
		t.Errorf("it goes upstream as %q", got)
	}
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	r := b.request("POST", "/v1/chat/completions", askWhole, "Content-Type", "application/x-www-form-urlencoded")
	if a := b.do(r); a.status != http.StatusOK {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
