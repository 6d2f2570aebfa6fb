package provider

import (
	"maps"
	"net/http"
	"slices"
	"testing"
)

func TestURL(t *testing.T) {
	for _, row := range []struct{ why, dialect, base, path, want string }{
		{"a bare host", "ollama", "https://ollama.com", "/v1/chat/completions", "https://ollama.com/v1/chat/completions"},
		{"a slash at the end", "ollama", "https://ollama.com/", "/v1/models", "https://ollama.com/v1/models"},
		{"a base that names the version", "openai", "https://api.openai.com/v1", "/v1/models", "https://api.openai.com/v1/models"},
		{"another version", "openai", "https://x.example/api/paas/v4/", "/v1/models", "https://x.example/api/paas/v4/models"},
		{"a version in the middle", "openai", "https://x.example/v1beta/openai", "/v1/models", "https://x.example/v1beta/openai/models"},
		{"a host that only looks like a version", "openai", "https://v1.example", "/v1/models", "https://v1.example/v1/models"},
		{"OpenRouter with its version", "openrouter", "https://openrouter.ai/api/v1", "/v1/key", "https://openrouter.ai/api/v1/key"},
		{"OpenRouter without", "openrouter", "https://openrouter.ai/api", "/v1/key", "https://openrouter.ai/api/v1/key"},
		{"Ollama's own API beside /v1", "ollama", "http://h:11434/v1", "/api/tags", "http://h:11434/api/tags"},
		{"Ollama's own API below a prefix", "ollama", "http://h/llm", "/api/tags", "http://h/llm/api/tags"},
		{"Ollama, said to speak OpenAI's dialect", "openai", "http://h:11434/v1", "/api/tags", "http://h:11434/api/tags"},
	} {
		d, _ := Lookup(row.dialect)
		if got := d.URL(row.base, row.path); got != row.want {
			t.Errorf("%s: got %s, want %s", row.why, got, row.want)
		}
	}
}

func TestAuthorizeReplacesWhatWasThere(t *testing.T) {
	want := map[string]http.Header{ // what is left of a client's own credential when the dialect has put the key in
		"ollama":     {"Authorization": {"Bearer k"}},
		"openrouter": {"Authorization": {"Bearer k"}},
		"openai":     {"Authorization": {"Bearer k"}},
	}
	for name, d := range dialects {
		h := http.Header{"Authorization": {"Bearer a", "Bearer b"}}
		d.Authorize(h, "k")
		if !maps.EqualFunc(h, want[name], slices.Equal) {
			t.Errorf("%s: %q, want %q", name, h, want[name])
		}
	}
}

func TestModels(t *testing.T) {
	for _, row := range []struct{ why, dialect, body, want string }{
		{
			"OpenAI's own list", "openai", `{"object":"list","data":[{"id":"gpt","object":"model","created":7,"owned_by":"me"}]}`,
			`{"object":"list","data":[{"id":"gpt","object":"model","created":7,"owned_by":"me"}]}`,
		},
		{
			"Ollama's tags", "ollama", `{"models":[{"name":"a:1b","model":"a:1b","modified_at":"2025-08-05T00:00:00Z"}]}`,
			`{"object":"list","data":[{"id":"a:1b","object":"model","created":1754352000,"owned_by":"library"}]}`,
		},
		{
			"OpenRouter's list", "openrouter", `{"data":[{"id":"x/y","name":"Y","created":1.5,"context_length":8,"pricing":{}}]}`,
			`{"object":"list","data":[{"id":"x/y","object":"model","created":1,"owned_by":"x","name":"Y","context_length":8}]}`,
		},
		{"no models", "ollama", `{"models":[]}`, `{"object":"list","data":[]}`},
		{"a model without a name", "ollama", `{"models":[{}]}`, `{"object":"list","data":[]}`},
		{
			"numbers that are none", "openai", `{"data":[{"id":"a","created":"x","context_length":1e400}]}`,
			`{"object":"list","data":[{"id":"a","object":"model","created":0,"owned_by":"openai"}]}`,
		},
	} {
		d, _ := Lookup(row.dialect)
		got, err := d.Models([]byte(row.body))
		if err != nil || string(got) != row.want {
			t.Errorf("%s: got %s %v, want %s", row.why, got, err, row.want)
		}
	}
	for _, bad := range []string{``, `{}`, `null`, `[]`, `{"data":1}`, `<html>`} {
		if got, err := (openAI{}).Models([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a list: %s", bad, got)
		}
	}
}

func TestMatchModel(t *testing.T) {
	for _, row := range []struct {
		patterns []string
		model    string
		want     bool
	}{
		{nil, "any", true},
		{[]string{"a"}, "", true},
		{[]string{"a"}, "a", true},
		{[]string{"a"}, "ab", false},
		{[]string{"kimi*"}, "kimi-k2:1t", true},
		{[]string{"*"}, "openai/gpt-x", true},
		{[]string{"openai/*"}, "openai/gpt/x", true},
		{[]string{"*:free"}, "a/b:free", true},
		{[]string{"*:free"}, "a/b:free2", false},
		{[]string{"a?c"}, "abc", true},
		{[]string{"a?c"}, "aüc", true},
		{[]string{"a?c"}, "ac", false},
		{[]string{"x", "a*b*c"}, "aXbYbZc", true},
		{[]string{"[a]"}, "[a]", true},
		{[]string{"[a]"}, "a", false},
		{[]string{`\*`}, `\anything`, true},
		{[]string{""}, "a", false},
		{[]string{"a**"}, "a", true},
		{[]string{"*??xy*"}, "€xyz", false}, // one character, of however many bytes, is not two
	} {
		if got := MatchModel(row.patterns, row.model); got != row.want {
			t.Errorf("MatchModel(%q, %q) = %v", row.patterns, row.model, got)
		}
	}
}

func TestMembers(t *testing.T) {
	var seen []string
	err := Members([]byte(` {"a":1,"b":{"c":[true,null]},"a":"x","\u0064":2} `), 4, func(key, value []byte) {
		seen = append(seen, string(key)+"="+string(value))
	})
	want := []string{"a=1", `b={"c":[true,null]}`, `a="x"`, "d=2"}
	if err != nil || len(seen) != len(want) {
		t.Fatalf("got %q, %v", seen, err)
	}
	for i := range want {
		if seen[i] != want[i] {
			t.Errorf("got %s, want %s", seen[i], want[i])
		}
	}
	for _, row := range []struct {
		body string
		want error
	}{
		{`{"a":[[1]]}`, nil},
		{`{"a":[[[1]]]}`, ErrTooDeep},
		{`[[[[`, ErrTooDeep},
		{`[1]`, ErrNotObject},
		{`null`, ErrNotObject},
		{`{"a":1}x`, ErrSyntax},
		{``, ErrSyntax},
	} {
		if err := Members([]byte(row.body), 3, func(_, _ []byte) {}); err != row.want { //nolint:errorlint // answered bare
			t.Errorf("%s: got %v, want %v", row.body, err, row.want)
		}
	}
}

func BenchmarkMembers(b *testing.B) {
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"`)
	for range 100 {
		body = append(body, "some words "...)
	}
	body = append(body, `"}],"stream":true}`...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if Members(body, 64, func(_, _ []byte) {}) != nil {
			b.Fatal("refused")
		}
	}
}
