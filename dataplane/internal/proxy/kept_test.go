package proxy

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

const secondToken = "sk-CANARYTOKENofsomebodyelse"

// newKeepingBench keeps answers for a minute; its upstream numbers them.
func newKeepingBench(t *testing.T) (b *bench, calls *atomic.Int32) {
	calls = &atomic.Int32{}
	b = newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := strconv.Itoa(int(calls.Add(1)))
		if strings.Contains(string(body), `"stream":true`) {
			sendStream(w, goodStream)
			return
		}
		w.Header().Set("X-Generation-Id", n)
		sendJSON(w, 200, `{"id":"`+n+`", "choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`)
	})
	for id, p := range b.book.providers {
		kept := *p
		kept.CacheTTL = time.Minute
		b.book.providers[id] = &kept
	}
	other := tokens.Digest(secondToken)
	b.book.tokens[other] = &tokens.Token{ID: 8, Hash: other}
	return b, calls
}

// What makes another question is another question: any field, the provider, the path. The former system left most of them
// out of its key.
func TestPredecessor_A1(t *testing.T) {
	b, calls := newKeepingBench(t)
	seen := map[string]string{}
	const ask = `{"model":"m","messages":[{"role":"user","content":"x"}]`
	for _, q := range []struct{ path, body string }{
		{"/v1/chat/completions", ask + `}`},
		{"/v1/chat/completions", ask + `,"temperature":0}`},
		{"/v1/chat/completions", ask + `,"temperature":1}`},
		{"/v1/chat/completions", ask + `,"temperature":1.0}`},
		{"/v1/chat/completions", ask + `,"max_tokens":5}`},
		{"/v1/chat/completions", ask + `,"seed":5}`},
		{"/v1/chat/completions", ask + `,"tools":[{"type":"function","function":{"name":"f"}}]}`},
		{"/v1/chat/completions", ask + `,"tools":[{"type":"function","function":{"name":"g"}}]}`},
		{"/v1/chat/completions", ask + `,"response_format":{"type":"json_object"}}`},
		{"/v1/chat/completions", ask + `,"response_format":null}`},
		{"/v1/chat/completions", ask + `,"user":"u"}`},
		{"/v1/chat/completions", `{"model":"m2","messages":[{"role":"user","content":"x"}]}`},
		{"/v1/completions", ask + `}`},
		{"/openrouter/v1/chat/completions", ask + `}`},
		{"/other/v1/chat/completions", ask + `}`},
	} {
		a := b.do(b.request("POST", q.path, q.body))
		if a.status != 200 || a.header.Get("X-Pool-Cache") != "miss" {
			t.Errorf("%s %s: %d, %s", q.path, q.body, a.status, a.header.Get("X-Pool-Cache"))
		}
		if former, ok := seen[a.body]; ok {
			t.Errorf("%s %s got the answer to %s", q.path, q.body, former)
		}
		seen[a.body] = q.path + q.body
	}
	asked := calls.Load()
	a := b.chat("\n{ \"messages\":[{\"content\":\"\\u0078\",\"role\":\"user\"}], \"model\":\"m\" }")
	if a.header.Get("X-Pool-Cache") != "hit" || calls.Load() != asked {
		t.Errorf("the same in other words is a %s, %d calls", a.header.Get("X-Pool-Cache"), calls.Load()-asked)
	}
	if a := b.chat(ask+`}`, "Accept-Language", "de"); a.header.Get("X-Pool-Cache") != "miss" {
		t.Error("a header that goes upstream does not count")
	}
}

// Nobody sees an answer that was made for somebody else; who asked already gets it byte for byte.
func TestPredecessor_A2(t *testing.T) {
	b, calls := newKeepingBench(t)
	mine := b.chat(askWhole)
	again := b.chat(askWhole)
	if again.body != mine.body || again.header.Get("Content-Type") != mine.header.Get("Content-Type") || calls.Load() != 1 {
		t.Errorf("%d calls; first %q, then %q", calls.Load(), mine.body, again.body)
	}
	theirs := b.chat(askWhole, "Authorization", "Bearer "+secondToken)
	if theirs.body == mine.body || theirs.header.Get("X-Pool-Cache") != "miss" {
		t.Errorf("another token got %q", theirs.body)
	}
	for _, a := range []answer{mine, again, theirs} {
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
		}
	}
	for hash, name := range map[[32]byte]string{tokens.Digest(clientToken): "one", tokens.Digest(secondToken): "one"} {
		tenant := *b.book.tokens[hash]
		tenant.Tenant = name
		b.book.tokens[hash] = &tenant
	}
	first := b.chat(askWhole)
	shared := b.chat(askWhole, "Authorization", "Bearer "+secondToken)
	if shared.body != first.body || first.body == mine.body || shared.header.Get("X-Pool-Cache") != "hit" {
		t.Errorf("two tokens of one tenant got %q and %q", first.body, shared.body)
	}
}

func TestAnAnswerThatIsKeptIsCountedAsOne(t *testing.T) {
	b, _ := newKeepingBench(t)
	b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Requests: 5, capacity.Tokens: 1000}})
	b.chat(askWhole)
	b.chat(askWhole)
	if a := b.chat(askStream); a.header.Get("X-Ratelimit-Remaining-Requests") != "2" || a.header.Get("X-Ratelimit-Remaining-Tokens") != "982" {
		t.Errorf("%v are left", a.header) // 7 of the first, 0 of the second, 11 as thought of this one
	}
	want := leases.Request{Token: 7, Provider: "ollama", Model: "m", End: leases.EndOK, FromCache: true}
	if got := b.book.served[1]; got != want {
		t.Errorf("counted as %+v", got)
	}
	if len(b.book.settled) != 2 {
		t.Errorf("%d attempts", len(b.book.settled))
	}
	c := b.proxy.Caches()
	if len(c) != 1 || c[0].Answers != 1 || c[0].AnswerHits != 1 || c[0].AnswerMisses != 1 || c[0].AnswerBytes == 0 {
		t.Errorf("kept are %+v", c)
	}
	b.proxy.Forget([]string{"openrouter"})
	if a := b.chat(askWhole); a.header.Get("X-Pool-Cache") != "hit" {
		t.Error("another provider's clear took it")
	}
	b.proxy.Forget([]string{"ollama"})
	if a := b.chat(askWhole); a.header.Get("X-Pool-Cache") != "miss" {
		t.Error("a clear left it")
	}
}

func TestWhatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b, stop := newBubbleBench(t, 3, func(w http.ResponseWriter, r *http.Request) {
			calls++
			switch body, _ := io.ReadAll(r.Body); {
			case strings.Contains(string(body), "stream"):
				sendStream(w, goodStream)
			case strings.Contains(string(body), "refuse"):
				sendJSON(w, 400, `{"error":{"message":"no"}}`)
			case strings.Contains(string(body), "strange"):
				sendJSON(w, 203, goodWhole)
			default:
				sendJSON(w, 200, goodWhole)
			}
		})
		defer stop()
		twice := func(why, path, body string, want int) {
			t.Helper()
			calls = 0
			b.do(b.request("POST", path, body))
			b.do(b.request("POST", path, body))
			if calls != want {
				t.Errorf("%s: %d calls, want %d", why, calls, want)
			}
		}
		keep := func(yes *bool) {
			hash := tokens.Digest(clientToken)
			b.book.tokens[hash] = &tokens.Token{ID: 7, Hash: hash, Cache: yes}
		}
		const chat = "/v1/chat/completions"
		twice("nothing is, by default", chat, askWhole, 2)
		keep(new(true))
		twice("the token wants it", chat, askWhole, 1)
		time.Sleep(299 * time.Second)
		twice("it is still there", chat, askWhole, 0)
		time.Sleep(time.Second)
		twice("five minutes are over", chat, askWhole, 1)
		twice("a stream", chat, askStream, 2)
		twice("an error", chat, `{"model":"refuse"}`, 2)
		twice("another status", chat, `{"model":"strange"}`, 2)
		twice("what costs nothing", "/api/show", `{"model":"m"}`, 2)
		b.change(func(p *provider.Provider) { p.CacheTTL = time.Minute })
		keep(new(false))
		twice("the token does not want it", chat, askWhole, 2)
		keep(nil)
		twice("the provider says so", chat, askWhole, 1)
		b.change(func(*provider.Provider) {})
		twice("the provider was changed", chat, askWhole, 1)
		time.Sleep(time.Minute)
		twice("its minute is over", chat, askWhole, 1)
	})
}
