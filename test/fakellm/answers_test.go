package fakellm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestStreamIsExact(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	r := newRig(t, Config{Now: func() time.Time { return noon }, KeepBodies: true}, map[string]Behaviour{goodKey: {Chunks: 2}})
	body := `{"model":"gpt-oss:20b","stream":true,"stream_options":{"include_usage":true},"messages":[` +
		`{"role":"user","content":"before"},{"role":"user","content":[{"type":"text","text":"hé"},{"type":"image_url"},{"type":"text","text":"llo"}]},{"role":"assistant","content":null}]}`
	got := r.chat(goodKey, body)
	chunk := func(choices, more string) string {
		return fmt.Sprintf("data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":%d,\"model\":\"gpt-oss:20b\",\"choices\":[%s]%s}\n\n", noon.Unix(), choices, more)
	}
	want := chunk(`{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}`, "") +
		chunk(`{"index":0,"delta":{"content":"echo:"},"finish_reason":null}`, "") +
		chunk(`{"index":0,"delta":{"content":" héllo"},"finish_reason":null}`, "") +
		chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`, "") +
		chunk("", `,"usage":{"prompt_tokens":2,"completion_tokens":2,"total_tokens":4}`) +
		"data: [DONE]\n\n"
	if got.body != want {
		t.Errorf("got\n%s\nwant\n%s", got.body, want)
	}
	if ct := got.header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %q: a real one has no charset", ct)
	}
	e := r.last()
	if string(e.Body) != body || string(e.Answer) != want {
		t.Errorf("the ledger kept body %q and answer %q", e.Body, e.Answer)
	}
	if e.PromptTokens != 2 || e.CompletionTokens != 2 || e.Events != 5 || !e.Stream {
		t.Errorf("the ledger says %+v", e)
	}
}

func TestAnswerIsACompletion(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	var got wireCompletion
	if err := json.Unmarshal([]byte(r.chat(goodKey, ask).body), &got); err != nil {
		t.Fatal(err)
	}
	if text := *got.Choices[0].Message.Content; text != Answer("hello there") {
		t.Errorf("content %q", text)
	}
	if *got.Usage != (usage{2, 3, 5}) {
		t.Errorf("usage %+v", *got.Usage)
	}
}

func TestEventsAreFlushedOneByOne(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {ChunkInterval: time.Hour}})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/chat/completions", strings.NewReader(askSSE))
	req.Header.Set("X-Api-Key", goodKey)
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 10)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	if e := r.last(); e.Outcome != "" || len(InFlight(r.up.Ledger())) != 1 {
		t.Errorf("a running stream must be visible as such, got %+v", e)
	}
	resp.Body.Close()
	for deadline := time.Now().Add(5 * time.Second); r.last().Outcome == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client's leaving was not noticed")
		}
	}
	if e := r.last(); e.Outcome != Canceled || e.Events != 1 {
		t.Errorf("got %s after %d events", e.Outcome, e.Events)
	}
}

func TestRefusals(t *testing.T) {
	const chat = "/v1/chat/completions"
	tests := []struct {
		sentence            string
		dialect             string
		method, path, key   string
		body                string
		status              int
		contains            string
		wantHeader, wantVal string
	}{
		{"An unknown key is 401", Ollama, "POST", chat, "sk-unknown", ask, 401, `{"error":{"message":"unauthorized`, "", ""},
		{"No key is 401", Ollama, "POST", chat, "", ask, 401, `"type":"api_error"`, "", ""},
		{"An unknown key is 401 before the body is judged", OpenAI, "POST", chat, "sk-unknown", `{`, 401, `"code":"invalid_api_key"`, "", ""},
		{"An empty body is 400 to a good key", Ollama, "POST", chat, goodKey, "", 400, `{"error":{"message":"the request body is empty","type":"api_error","param":null,"code":null}}`, "", ""},
		{"An empty object is 400 to a good key", OpenRouter, "POST", "/api" + chat, goodKey, "{}", 400, `{"error":{"code":400,"message":`, "", ""},
		{"An empty object is 401 to a dead key", OpenRouter, "POST", "/api" + chat, "dead", "{}", 401, `"code":401`, "", ""},
		{"An empty body is 500 to a key that answers 500", Ollama, "POST", chat, "broken", "", 500, "", "", ""},
		{"Broken JSON is 400", OpenAI, "POST", chat, goodKey, `{"model":`, 400, `"type":"invalid_request_error","param":null,"code":null`, "", ""},
		{"Empty messages are judged before the model", Ollama, "POST", chat, goodKey, `{"model":"nope","messages":[]}`, 400, "too short", "", ""},
		{"An unknown model is 404", Ollama, "POST", chat, goodKey, `{"model":"nope","messages":[{}]}`, 404, `{"error":{"message":"model 'nope' not found","type":"api_error","param":null,"code":null}}`, "", ""},
		{"An unknown model is 404 at OpenRouter", OpenRouter, "POST", chat, goodKey, `{"model":"nope","messages":[{}]}`, 404, `{"error":{"code":404,"message":"model 'nope' not found"}}`, "", ""},
		{"An unknown model is 404 at OpenAI", OpenAI, "POST", chat, goodKey, `{"model":"nope","messages":[{}]}`, 404, `"code":"model_not_found"`, "", ""},
		{"A number out of range in an unknown field is accepted", Ollama, "POST", chat, goodKey, `{"x":1e400,"model":"gpt-oss:20b","messages":[{}]}`, 200, "echo", "", ""},
		{"A wrong method is 405 in plain text", Ollama, "GET", chat, goodKey, "", 405, "405", "Allow", "POST"},
		{"HEAD on the models is 405", Ollama, "HEAD", "/v1/models", "", "", 405, "", "Allow", "GET"},
		{"HEAD on the root is 200", Ollama, "HEAD", "/", "", "", 200, "", "", ""},
		{"The root says that Ollama is running", Ollama, "GET", "/", "", "", 200, "Ollama is running", "", ""},
		{"An unknown path is 404 in plain text", Ollama, "GET", "/nope", "", "", 404, "404 page not found", "Content-Type", "text/plain; charset=utf-8"},
		{"OpenRouter's paths are OpenRouter's only", Ollama, "GET", "/api/v1/key", goodKey, "", 404, "", "", ""},
		{"Ollama's tags are Ollama's only", OpenRouter, "GET", "/api/tags", goodKey, "", 404, "", "", ""},
		{"Models are listed to a dead key", Ollama, "GET", "/v1/models", "dead", "", 200, `"owned_by":"library"`, "", ""},
		{"Tags are listed to an unknown key", Ollama, "GET", "/api/tags", "sk-unknown", "", 200, `{"models":[{"details":`, "", ""},
		{"OpenRouter's models are listed to nobody in particular", OpenRouter, "GET", "/api/v1/models", "", "", 200, `"canonical_slug":"gpt-oss:20b"`, "", ""},
		{"A model is shown to anybody", Ollama, "GET", "/v1/models/gpt-oss:20b", "", "", 200, `{"created":1754352000,"id":"gpt-oss:20b"`, "", ""},
		{"An unknown model is not", OpenAI, "GET", "/v1/models/a/b", "dead", "", 404, `"message":"model 'a/b' not found"`, "", ""},
		{"A model without a name is no page", Ollama, "GET", "/v1/models/", "", "", 404, "404 page not found", "", ""},
		{"A model cannot be deleted", OpenAI, "DELETE", "/v1/models/gpt-oss:20b", goodKey, "", 405, "405", "Allow", "GET"},
		{"A model is OpenRouter's under its prefix too", OpenRouter, "GET", "/api/v1/models/gpt-oss:20b", "", "", 200, `"canonical_slug"`, "", ""},
		{"Ollama tells its version", Ollama, "GET", "/api/version", "", "", 200, `{"version":"0.`, "", ""},
		{"Ollama tells what runs", Ollama, "GET", "/api/ps", "", "", 200, `"expires_at":`, "", ""},
		{"Ollama shows a model", Ollama, "POST", "/api/show", "", `{"model":"gpt-oss:20b"}`, 200, `"capabilities":["completion"`, "", ""},
		{"Ollama shows a model by its older name", Ollama, "POST", "/api/show", "", `{"name":"gpt-oss:20b"}`, 200, `"model_info":`, "", ""},
		{"Ollama shows no unknown model", Ollama, "POST", "/api/show", "", `{"model":"nope"}`, 404, `{"error":"model 'nope' not found"}`, "", ""},
		{"Ollama must be told which", Ollama, "POST", "/api/show", "", `{}`, 400, `{"error":"model is required"}`, "", ""},
		{"Ollama shows nothing to an empty body", Ollama, "POST", "/api/show", "", ``, 400, `{"error":"the request body is empty"}`, "", ""},
		{"Ollama's own API is Ollama's only", OpenAI, "POST", "/api/chat", goodKey, "", 404, "404 page not found", "", ""},
		{"Anthropic's API is at OpenRouter too", OpenRouter, "POST", "/api/v1/messages", "dead", "", 401, `{"type":"error","error":{"type":"authentication_error"`, "", ""},
		{"Anthropic wants a limit to the tokens", Ollama, "POST", "/v1/messages", goodKey, `{"model":"gpt-oss:20b","messages":[{}]}`, 400, "max_tokens", "", ""},
		{"Embeddings have two formats", Ollama, "POST", "/v1/embeddings", goodKey, `{"model":"gpt-oss:20b","input":"a","encoding_format":"gif"}`, 400, "encoding_format", "", ""},
		{"An input that is null is none", Ollama, "POST", "/v1/embeddings", goodKey, `{"model":"gpt-oss:20b","input":null}`, 400, "input is required", "", ""},
		{"A response without input is none", Ollama, "POST", "/v1/responses", goodKey, `{"model":"gpt-oss:20b","input":null}`, 400, "input is required", "", ""},
		{"The key's own page is 200 to a good key", OpenRouter, "GET", "/api/v1/key", goodKey, "", 200, `"label":"…0001"`, "", ""},
		{"The key's own page is 401 to a dead key", OpenRouter, "GET", "/api/v1/key", "dead", "", 401, `"code":401`, "", ""},
		{"The key's own page is 500 to a broken key", OpenRouter, "GET", "/api/v1/key", "broken", "", 500, `"provider_name"`, "", ""},
		{"Retry-After is sent as it was given", OpenRouter, "POST", chat, "busy", ask, 429, `"metadata":{"retry_after_seconds":1.5}`, "Retry-After", "1.5"},
		{"A 403 of OpenRouter is about the prompt", OpenRouter, "POST", chat, "forbidden", ask, 403, `"reasons":["flagged"]`, "", ""},
		{"A reset is a duration at OpenAI", OpenAI, "POST", chat, "reset", ask, 429, "rate_limit_exceeded", "X-Ratelimit-Reset-Requests", "1m30s"},
		{"A reset is in milliseconds at OpenRouter", OpenRouter, "POST", chat, "reset", ask, 429, `"X-RateLimit-Reset":"1767268890000"`, "X-Ratelimit-Reset", "1767268890000"},
		{"A reset is a date in the text at Ollama", Ollama, "POST", chat, "reset", ask, 429, "it resets at 2026-01-01T12:01:30Z", "", ""},
	}
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			r := newRig(t, Config{Dialect: tt.dialect, Now: func() time.Time { return noon }}, map[string]Behaviour{
				goodKey: {}, "dead": {Status: 401}, "broken": {Status: 500}, "forbidden": {Status: 403},
				"busy": {Status: 429, RetryAfter: "1.5"}, "reset": {Status: 429, ResetIn: 90 * time.Second},
			})
			got := r.do(tt.method, tt.path, tt.key, tt.body)
			if got.status != tt.status || !strings.Contains(got.body, tt.contains) {
				t.Errorf("got %d %s\nwant %d with %s", got.status, got.body, tt.status, tt.contains)
			}
			if tt.wantHeader != "" && got.header.Get(tt.wantHeader) != tt.wantVal {
				t.Errorf("%s: %q, want %q", tt.wantHeader, got.header.Get(tt.wantHeader), tt.wantVal)
			}
			if e := r.last(); e.Status != tt.status || (e.Outcome == Completed) != (tt.status == 200) {
				t.Errorf("the ledger says %+v", e)
			}
		})
	}
}

func TestAModelsNameMayHoldSlashes(t *testing.T) {
	r := newRig(t, Config{Models: []string{"openai/gpt-x/models/y"}}, nil)
	for _, path := range []string{"/v1/models/openai/gpt-x/models/y", "/v1/models/openai%2Fgpt-x%2Fmodels%2Fy"} {
		if got := r.do("GET", path, "", ""); got.status != 200 || !strings.Contains(got.body, `"id":"openai/gpt-x/models/y"`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}

func TestAnthropicsClientsAreKnown(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	body := `{"model":"gpt-oss:20b","max_tokens":1,"metadata":{"user_id":"r7"},"messages":[{"role":"user","content":"hi"}]}`
	if got := r.do("POST", "/v1/messages", "", body, "X-Api-Key", goodKey, "Anthropic-Version", "2023-06-01"); got.status != 200 {
		t.Errorf("by x-api-key: %d %s", got.status, got.body)
	}
	if e := r.last(); e.RequestID != "r7" || e.Key != goodKey {
		t.Errorf("the ledger says %+v", e)
	}
}

func TestAnyKey(t *testing.T) {
	r := newRig(t, Config{AcceptAnyKey: true}, map[string]Behaviour{"dead": {Status: 401}})
	for key, want := range map[string]int{"whatever": 200, "dead": 401, "": 401} {
		if got := r.chat(key, ask).status; got != want {
			t.Errorf("key %q: %d, want %d", key, got, want)
		}
	}
}

func TestRemovedKeysAreUnknown(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{"a": {}, "b": {}, "c": {}})
	status := func(key string) int { return r.chat(key, ask).status }
	if status("a") != 200 {
		t.Fatal("the key must be good before it is removed")
	}
	r.up.RemoveKey("a", "b")
	if status("a") != 401 || status("b") != 401 || status("c") != 200 {
		t.Error("only the removed keys must be unknown")
	}
	r.up.RemoveAllKeys()
	if status("c") != 401 {
		t.Error("the last key is still known")
	}
}

func TestLargeAnswersAreExact(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {Body: strings.Repeat("x", 1<<20)}})
	if got := r.chat(goodKey, ask); len(got.body) != 1<<20 || got.cut {
		t.Errorf("%d bytes, cut %v", len(got.body), got.cut)
	}
	if r.last().Outcome != Completed {
		t.Error("who has read the answer must find it finished in the ledger")
	}
}

func TestOversizedBodiesAreRefused(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	body := bytes.Repeat([]byte(" "), maxBody+1)
	if got := r.chat(goodKey, string(body)); got.status != 413 {
		t.Errorf("got %d", got.status)
	}
}
