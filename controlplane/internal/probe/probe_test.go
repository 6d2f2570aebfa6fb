package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/test/fakellm"
)

const canary = "sk-canary-0123456789abcdef"

// upstreamAt is a provider that speaks the dialect at the address.
func upstreamAt(url, dialect string) pool.Provider {
	return pool.Provider{ID: "p", Revision: 1, BaseURL: url, Dialect: dialect, Enabled: true, AllowPrivateAddresses: true}.WithDefaults()
}

func newProber(t *testing.T) *Prober {
	p := New(Config{Version: "v1"})
	t.Cleanup(p.Close)
	return p
}

func TestWhatTheCheckMeans(t *testing.T) {
	for _, row := range []struct {
		what    string
		dialect string
		status  int
		body    string
		want    Answer
	}{
		{"the empty chat is malformed: the key was looked at first", "ollama", 400, `{"error":{"message":"x"}}`, Answer{Finding: Good}},
		{"some call that unprocessable", "openai", 422, `{"detail":"x"}`, Answer{Finding: Good}},
		{"a page that says 400 is no upstream", "openai", 400, ` <html>`, Answer{Reason: Forbidden}},
		{"OpenRouter shows the key's record", "openrouter", 200, `{"data":{"label":"x"}}`, Answer{Finding: Good}},
		{"a 400 of OpenRouter proves nothing", "openrouter", 400, `{}`, Answer{Reason: Forbidden}},
		{"a page with a 200 is no record", "openrouter", 200, `<html>`, Answer{Reason: BrokenAnswer}},
		{"a list with a 200 is no record", "openrouter", 200, `[]`, Answer{Reason: BrokenAnswer}},
		{"null with a 200 is no record", "openrouter", 200, `null`, Answer{Reason: BrokenAnswer}},
		{"an error with a 200 is no record", "openrouter", 200, `{"error":{"code":401}}`, Answer{Reason: BrokenAnswer}},
		{"rejected", "ollama", 401, `{"error":"unauthorized"}`, Answer{Finding: Rejected, Reason: AuthRejected}},
		{"out of credit", "openrouter", 402, `{}`, Answer{Finding: Limited, Reason: QuotaExhausted}},
		{"a 403 that names the key", "openai", 403, `{"error":{"message":"Your API key has been Revoked"}}`, Answer{Finding: Rejected, Reason: AuthRejected}},
		{"a 403 that names a quota", "openai", 403, `{"error":"weekly usage limit reached"}`, Answer{Finding: Limited, Reason: QuotaExhausted}},
		{"a 403 about content", "openai", 403, `{"error":"flagged by moderation, banned words"}`, Answer{Reason: Forbidden}},
		{"a 403 that says nothing", "openai", 403, ``, Answer{Reason: Forbidden}},
		{"a 403 of OpenRouter is about content", "openrouter", 403, `{"error":{"message":"banned"}}`, Answer{Reason: Forbidden}},
		{"slow down", "ollama", 429, `{}`, Answer{Finding: Limited, Reason: RateLimited, RetryAfter: 90 * time.Second}},
		{"a quota told with a 429", "ollama", 429, `{"error":"you have reached your weekly usage limit"}`, Answer{Finding: Limited, Reason: QuotaExhausted, RetryAfter: 90 * time.Second}},
		{"never followed", "ollama", 307, ``, Answer{Reason: Misconfigured}},
		{"no API here", "ollama", 404, `404 page not found`, Answer{Reason: Misconfigured}},
		{"no API here either", "ollama", 405, ``, Answer{Reason: Misconfigured}},
		{"the upstream failed", "ollama", 500, `{}`, Answer{Reason: ServerError}},
		{"a strange number", "ollama", 799, `{}`, Answer{Reason: ServerError}},
	} {
		var asked *http.Request
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r
			w.Header().Set("Retry-After", "90")
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(row.status)
			_, _ = w.Write([]byte(row.body))
		}))
		got, err := newProber(t).Check(t.Context(), upstreamAt(web.URL, row.dialect), pool.NewSecret(canary))
		web.Close()
		if row.want.Reason == QuotaExhausted {
			row.want.RetryAfter = 90 * time.Second
		}
		if err != nil || got != row.want {
			t.Errorf("%s: got %+v %v, want %+v", row.what, got, err, row.want)
		}
		if asked.Header.Get("Authorization") != "Bearer "+canary || asked.UserAgent() != "ollama-api-pool/v1 (probe)" {
			t.Errorf("%s: asked with %v", row.what, asked.Header)
		}
	}
}

func TestUpstreamsThatDoNotAnswer(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer broken.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer secure.Close()
	for _, row := range []struct {
		what string
		of   pool.Provider
		want Reason
	}{
		{"nobody listens", upstreamAt("http://127.0.0.1:1", "ollama"), Unreachable},
		{"cut off", upstreamAt(broken.URL, "ollama"), Unreachable},
		{"a certificate of nobody", upstreamAt(secure.URL, "ollama"), Unreachable},
		{"no such host", upstreamAt("http://no.invalid", "ollama"), Unreachable},
		{"a dialect of a newer release", upstreamAt(broken.URL, "klingon"), Misconfigured},
		{"no address", upstreamAt("://", "ollama"), Misconfigured},
		{"a private address that is not allowed", func() pool.Provider {
			p := upstreamAt(broken.URL, "ollama")
			p.AllowPrivateAddresses = false
			return p
		}(), Misconfigured},
	} {
		got, err := newProber(t).Check(t.Context(), row.of, pool.NewSecret(canary))
		if err != nil || got != (Answer{Reason: row.want}) {
			t.Errorf("%s: got %+v %v, want %s", row.what, got, err, row.want)
		}
	}
}

// An upstream that never answers costs its time limit and no more, and the one who asked can leave earlier.
func TestAnUpstreamThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conns sync.WaitGroup
		p := New(Config{Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			conns.Go(func() { // takes everything, says nothing
				buf := make([]byte, 1024)
				for {
					if _, err := far.Read(buf); err != nil {
						return
					}
				}
			})
			return near, nil
		}})
		start := time.Now()
		got, err := p.Check(t.Context(), upstreamAt("http://up", "ollama"), pool.NewSecret(canary))
		if err != nil || got.Reason != Timeout || time.Since(start) != checkTime {
			t.Errorf("got %+v %v after %v", got, err, time.Since(start))
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := p.Check(ctx, upstreamAt("http://up", "ollama"), pool.NewSecret(canary)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who left got %v", err)
		}
		p.Close()
		conns.Wait()
	})
}

func TestAnEndlessAnswerIsReadToItsLimit(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer web.Close()
	got, err := newProber(t).Check(t.Context(), upstreamAt(web.URL, "openrouter"), pool.NewSecret(canary))
	if err != nil || got.Reason != BrokenAnswer {
		t.Errorf("got %+v %v", got, err)
	}
}

func TestFamilies(t *testing.T) {
	for model, want := range map[string]string{
		"kimi-k2:1t": "kimi", "moonshotai/kimi-k2-instruct": "kimi", "qwen3-coder:480b": "qwen", "QwQ-32b": "qwen",
		"meta-llama/llama-3.3-70b:free": "llama", "meta-llama/other": "other", "gpt-oss:20b": "gpt-oss", "gpt-4o": "gpt",
		"deepseek-r1-distill-llama-70b": "deepseek", "deepseek-r1-distill-qwen-7b": "qwen", "glm-4.6": "glm",
		"": "other", "/": "other",
	} {
		if got := Family(model); got != want {
			t.Errorf("%q is %s, want %s", model, got, want)
		}
	}
	for want, models := range map[string][]string{
		"": nil, "kimi": {"kimi-k2", "moonshot-v1", "glm"}, "qwen": {"qwen3", "llama3"}, "mixed": {"qwen", "llama", "glm"},
	} {
		for range 20 { // whatever the order of a map
			if got := categoryOf(models); got != want {
				t.Fatalf("%v is %q, want %q", models, got, want)
			}
		}
	}
	got := oneOfEach([]string{"x", "a/llama-3", "qwen3", "b/llama-3:free", "kimi", "glm"}, 3)
	if !slices.Equal(got, []string{"kimi", "qwen3", "glm"}) {
		t.Errorf("tries %v", got)
	}
	if got := oneOfEach([]string{"x", "a/llama-3", "b/llama-3:free"}, 3); !slices.Equal(got, []string{"b/llama-3:free", "x"}) {
		t.Errorf("tries %v", got)
	}
}

// Where the list is public, a category is what answered a one-token request; the list is asked for once.
func TestExamineAtAPublicList(t *testing.T) {
	up := fakellm.New(fakellm.Config{
		Dialect: fakellm.Ollama, Models: []string{"gpt-oss:20b", "qwen3:8b", "kimi-k2:1t"}, KeepBodies: true,
	})
	keys := map[string]fakellm.Behaviour{
		"key-plain": {ForbidModels: []string{"kimi-k2:1t"}},
		"key-rich":  {},
		"key-poor":  {ForbidModels: []string{"kimi-k2:1t", "qwen3:8b", "gpt-oss:20b"}},
		"key-spent": {Script: []fakellm.Behaviour{{}, {Status: 402}}},
	}
	if err := up.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(up)
	defer web.Close()
	p := newProber(t)
	of := upstreamAt(web.URL, "ollama")
	for _, row := range []struct {
		key, category string
		finding       Finding
		models        []string
	}{
		{"key-plain", "qwen", Good, []string{"qwen3:8b"}},
		{"key-rich", "kimi", Good, []string{"kimi-k2:1t"}},
		{"key-poor", "", Good, nil},
		{"key-spent", "", Limited, nil},
		{"key-unknown", "", Rejected, nil},
	} {
		a, m, err := p.Examine(t.Context(), of, pool.NewSecret(row.key))
		if err != nil || a.Finding != row.finding || m.Category != row.category || !slices.Equal(m.Names, row.models) {
			t.Errorf("%s: got %+v %+v %v", row.key, a, m, err)
		}
	}
	lists, tokens := 0, 0
	for _, e := range up.Ledger() {
		if e.Path == "/api/tags" {
			lists++
		}
		tokens += e.CompletionTokens
		if !e.Probe {
			t.Errorf("not told as a probe: %+v", e)
		}
		if strings.Contains(string(e.Body), `"messages"`) && !strings.Contains(string(e.Body), `"max_tokens":1,`) {
			t.Errorf("asked for more than one token: %s", e.Body)
		}
	}
	if lists != 1 {
		t.Errorf("the list was asked for %d times", lists)
	}
}

// Where the list is the key's own, it tells the category and costs nothing.
func TestExamineAtAKeysOwnList(t *testing.T) {
	var chats atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == chatPath:
			chats.Add(1)
			w.WriteHeader(http.StatusBadRequest) // looks at the body first: even a bad key's check is a bad request
		case r.Header.Get("Authorization") == "Bearer bad-key":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"data": []any{
				map[string]any{"id": "qwen-max"}, map[string]any{"id": "qwq-plus"}, map[string]any{"id": "text-embedding-v4"},
			}})
		}
	}))
	defer web.Close()
	p := newProber(t)
	a, m, err := p.Examine(t.Context(), upstreamAt(web.URL, "openai"), pool.NewSecret("good-key"))
	if err != nil || a.Finding != Good || m.Category != "qwen" || len(m.Names) != 3 || chats.Load() != 1 {
		t.Errorf("got %+v %+v %v, %d chats", a, m, err, chats.Load())
	}
	if a, _, err = p.Examine(t.Context(), upstreamAt(web.URL, "openai"), pool.NewSecret("bad-key")); err != nil || a.Finding != Rejected {
		t.Errorf("a bad key: %+v %v", a, err)
	}
}

// Never more questions at once than there are slots, and none left over in the end.
func TestQuestionsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer web.Close()
	p := newProber(t)
	var wg sync.WaitGroup
	for n := range 400 {
		wg.Go(func() {
			if _, err := p.Check(t.Context(), upstreamAt(web.URL, "ollama"), pool.NewSecret(fmt.Sprint("key-", n))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > maxQuestions || len(p.slots) != 0 {
		t.Errorf("%d at once, %d slots taken in the end", most.Load(), len(p.slots))
	}
}

func TestAddresses(t *testing.T) {
	for _, row := range [][3]string{
		{"https://ollama.com", "/v1/chat/completions", "https://ollama.com/v1/chat/completions"},
		{"https://ollama.com/v1", "/api/tags", "https://ollama.com/api/tags"},
		{"https://openrouter.ai/api", "/v1/key", "https://openrouter.ai/api/v1/key"},
		{"https://openrouter.ai/api/v1/", "/v1/key", "https://openrouter.ai/api/v1/key"},
	} {
		if got := join(row[0], row[1]); got != row[2] {
			t.Errorf("%s + %s is %s, want %s", row[0], row[1], got, row[2])
		}
	}
}
