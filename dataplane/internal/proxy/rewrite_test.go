package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// limit gives the client's token limits.
func (b *bench) limit(l capacity.Limits) {
	hash := tokens.Digest(clientToken)
	b.book.tokens[hash] = &tokens.Token{ID: 7, Hash: hash, Limits: l, Account: capacity.Alone(sinceNow(), l)}
}

// sinceNow is a clock that begins now.
func sinceNow() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

// change changes the settings of the provider ollama.
func (b *bench) change(how func(*provider.Provider)) {
	p := *b.book.providers["ollama"]
	how(&p)
	p.Revision++
	b.book.providers["ollama"] = &p
}

func TestOnlyTheModelsNameIsReplaced(t *testing.T) {
	var got string
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		sendJSON(w, 200, goodWhole)
	})
	b.change(func(p *provider.Provider) { p.ModelAliases = map[string]string{"gpt-x": `llama "3"`, "ring": "ring"} })
	for _, row := range []struct{ why, body, want string }{
		{
			"an alias, among things that must stay as they are",
			` {"n":1.0,"a":[1e400],"model" :  "gpt-x" , "messages":[{"model":"gpt-x"}],"x":null,"x":2} `,
			` {"n":1.0,"a":[1e400],"model" :  "llama \"3\"" , "messages":[{"model":"gpt-x"}],"x":null,"x":2} `,
		},
		{"an alias with escapes in it", `{"model":"gpt\u002dx"}`, `{"model":"llama \"3\""}`},
		{"of duplicates the one that counts", `{"model":"m","model":"gpt-x"}`, `{"model":"m","model":"llama \"3\""}`},
		{"another model", `{"model":"gpt-x2"}`, `{"model":"gpt-x2"}`},
		{"an alias for itself", `{"model":"ring"}`, `{"model":"ring"}`},
	} {
		if a := b.chat(row.body); a.status != 200 || got != row.want {
			t.Errorf("%s: %d, upstream got %s", row.why, a.status, got)
		}
	}
	b.do(b.request("POST", "/api/show", `{"name":"gpt-x","verbose":true}`))
	if want := `{"name":"llama \"3\"","verbose":true}`; got != want {
		t.Errorf("by name: upstream got %s", got)
	}
	if a := b.do(b.request("POST", "/openrouter/v1/chat/completions", `{"model":"gpt-x"}`)); a.status != 200 || got != `{"model":"gpt-x"}` {
		t.Errorf("another provider's alias was taken: %s", got)
	}
}

func TestAnAliasIsJudgedByTheNameThatTheClientUses(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	b.change(func(p *provider.Provider) { p.ModelAliases = map[string]string{"gpt-x": "llama"} })
	hash := tokens.Digest(clientToken)
	b.book.tokens[hash] = &tokens.Token{ID: 7, Hash: hash, Models: []string{"gpt-*"}}
	if a := b.chat(`{"model":"gpt-x"}`); a.status != 200 {
		t.Errorf("the alias: %d", a.status)
	}
	if a := b.chat(`{"model":"llama"}`); a.status != 403 {
		t.Errorf("the model behind it: %d", a.status)
	}
	if got := b.book.served[0].Model; got != "llama" {
		t.Errorf("counted as %s", got)
	}
}

func TestAliasesAreListed(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/tags" {
			sendJSON(w, 200, `{"models":[{"name":"llama","model":"llama","size":5},{"name":"old","model":"old","size":6}]}`)
			return
		}
		sendJSON(w, 200, `{"object":"list","data":[{"id":"llama","object":"model","created":5,"owned_by":"x"}]}`)
	})
	b.change(func(p *provider.Provider) {
		p.ModelAliases = map[string]string{"gpt/x": "llama", "lost": "nowhere", "old": "llama"}
	})
	list := b.do(b.request("GET", "/v1/models", "")).body
	for _, want := range []string{`"id":"llama"`, `"id":"gpt/x"`, `"id":"lost"`, `"id":"old"`} {
		if strings.Count(list, want) != 1 {
			t.Errorf("%s is not once in %s", want, list)
		}
	}
	if a := b.do(b.request("GET", "/v1/models/gpt/x", "")); a.status != 200 || !strings.Contains(a.body, `"id":"gpt/x"`) {
		t.Errorf("one alias: %d %s", a.status, a.body)
	}
	tags := b.do(b.request("GET", "/api/tags", "")).body
	if strings.Count(tags, `"size":5`) != 3 || strings.Contains(tags, `"size":6`) {
		t.Errorf("tags are %s", tags)
	}
}

func TestUsageIsAskedForAndHidden(t *testing.T) {
	var got string
	usage := event(`{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}`)
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = string(body)
		sendStream(w, chunk("a"), chunk("b"), finish, usage, doneEvent)
	})
	b.change(func(p *provider.Provider) { p.ModelAliases = map[string]string{"gpt-x": "m"} })
	const rest = `"model":"m","stream":true}`
	for _, row := range []struct{ why, body, want string }{
		{"no options", `{` + rest, `{"stream_options":{"include_usage":true},` + rest},
		{"no options and an alias", `{"model":"gpt-x","stream":true}`, `{"stream_options":{"include_usage":true},` + rest},
		{"null", `{"stream_options":null,` + rest, `{"stream_options":{"include_usage":true},` + rest},
		{"empty ones", `{"stream_options": { } ,` + rest, `{"stream_options": {"include_usage":true } ,` + rest},
		{"others", `{"stream_options":{"x":[1]},` + rest, `{"stream_options":{"include_usage":true,"x":[1]},` + rest},
		{"no usage wanted", `{` + `"stream_options":{"include_usage":false},` + rest, `{"stream_options":{"include_usage":true},` + rest},
		{"options behind an alias", `{"model":"gpt-x","stream":true,"stream_options":{}}`, `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`},
	} {
		b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Tokens: 1000}})
		a := b.chat(row.body)
		if got != row.want {
			t.Errorf("%s: upstream got %s", row.why, got)
		}
		if a.body != chunk("a")+chunk("b")+finish+doneEvent {
			t.Errorf("%s: the client got %q", row.why, a.body)
		}
		if left := b.chat(askWhole).header.Get("X-Ratelimit-Remaining-Tokens"); left != "981" { // 1000 - 12, and 7 of this one
			t.Errorf("%s: %s tokens are left", row.why, left)
		}
	}
	b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Tokens: 1000}})
	const asked = `{"stream_options":{"include_usage":true},` + rest
	if a := b.chat(asked); got != asked || !strings.Contains(a.body, usage) {
		t.Errorf("a client that asks for usage: upstream got %s, it got %s", got, a.body)
	}
	b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Requests: 9}})
	if a := b.chat(`{` + rest); got != `{`+rest || !strings.Contains(a.body, usage) {
		t.Errorf("without a bound of tokens: upstream got %s, the client %s", got, a.body)
	}
}

func TestWhatIsAskedIsFoundWhereItStands(t *testing.T) {
	body := []byte(`{"a":{"model":"no"},"model":"m","stream_options":{"include_usage":false},"prompt_cache_key":"k","system":"s","messages":[1]}`)
	found, prob := scanRequest(body, openAIChat)
	if prob != nil {
		t.Fatal(prob)
	}
	for _, row := range []struct {
		part []byte
		want string
	}{
		{found.name, `"m"`},
		{found.options, `{"include_usage":false}`},
		{found.session, `"k"`},
		{found.system, `"s"`},
		{found.opening, `[1]`},
	} {
		at := offset(body, row.part)
		if got := string(body[at : at+len(row.part)]); got != row.want || string(row.part) != row.want {
			t.Errorf("got %s at its place and %s as the part, want %s", got, row.part, row.want)
		}
	}
}
