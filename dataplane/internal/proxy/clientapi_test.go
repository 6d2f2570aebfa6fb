package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// apis are the paths that generate, each with what its upstream streams and answers whole.
var apis = []struct {
	path, media  string
	events       []string // the first shows that the answer is good, the last that it is complete
	failure      string   // an error in the stream, as the upstream writes it
	told         string   // a broken stream, as the client is told
	refusal      string   // the beginning of any error of the pool's own
	whole        string
	streamIfTold bool // only if the body asks for it
}{
	{
		path: "/v1/completions", media: "text/event-stream",
		events:  []string{"data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n", "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n", "data: [DONE]\n\n"},
		failure: "data: {\"error\":{\"message\":\"x\"}}\n\n", told: "data: {\"error\":{\"message\":", refusal: `{"error":{"message":`,
		whole: `{"object":"text_completion","choices":[{"text":"a","finish_reason":"stop"}]}`, streamIfTold: true,
	},
	{
		path: "/v1/responses", media: "text/event-stream",
		events: []string{
			"event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\n",
			"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"he said response.completed\"}\n\n",
			"event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n",
		},
		failure: "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}\n\n",
		told:    "event: error\ndata: {\"type\":\"error\",", refusal: `{"error":{"message":`,
		whole: `{"object":"response","error":null,"output":[]}`, streamIfTold: true,
	},
	{
		path: "/v1/messages", media: "text/event-stream",
		events: []string{
			"event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
			"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"message_stop\"}}\n\n",
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		},
		failure: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n",
		told:    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":", refusal: `{"type":"error","error":{"type":`,
		whole: `{"type":"message","content":[]}`, streamIfTold: true,
	},
	{
		path: "/api/chat", media: "application/x-ndjson",
		events:  []string{"{\"message\":{\"content\":\"a\",\"tool_calls\":[{\"arguments\":{\"done\":true}}]},\"done\":false}\n", "{\"done\": true,\"eval_count\":3}\n"},
		failure: "{\"error\":\"x\"}\n", told: "{\"error\":\"", refusal: `{"error":"`,
		whole: `{"message":{"content":"a"},"done":true}`,
	},
	{
		path: "/api/generate", media: "application/x-ndjson",
		events:  []string{"{\"response\":\"a\",\"done\":false}\n", "{\"response\":\"\",\"done\":true}\n"},
		failure: "{\"error\":\"x\"}\n", told: "{\"error\":\"", refusal: `{"error":"`,
		whole: `{"response":"a","done":true}`,
	},
}

func TestEveryAPIPassesByteForByte(t *testing.T) {
	for _, api := range apis {
		var asked string
		b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked = r.URL.Path + " " + string(body)
			if strings.Contains(string(body), `"stream": false`) {
				sendJSON(w, 200, api.whole)
				return
			}
			sendEvents(w, api.media, api.events...)
		})
		ask := `{ "model":"m", "prompt":"x", "stream": true,"n":1.0e0 }`
		if a := b.do(b.request("POST", api.path, ask)); a.body != strings.Join(api.events, "") || a.header.Get("Content-Type") != api.media {
			t.Errorf("%s: streamed %q (%s)", api.path, a.body, a.header.Get("Content-Type"))
		}
		if asked != api.path+" "+ask {
			t.Errorf("%s: the upstream was asked %q", api.path, asked)
		}
		if a := b.do(b.request("POST", api.path, `{"model":"m","stream": false}`)); a.body != api.whole {
			t.Errorf("%s: answered %q", api.path, a.body)
		}
		if got := b.book.classes(); len(got) != 2 || got[0] != provider.OK || got[1] != provider.OK {
			t.Errorf("%s: settled %v", api.path, got)
		}
	}
}

// Who says nothing of a stream gets what the API is known for: Ollama's own streams, the others do not.
func TestWhoIsStreamedToWithoutAsking(t *testing.T) {
	for _, api := range apis {
		found, prob := scanRequest([]byte(`{"model":"m"}`), routeByPath[api.path].api)
		if prob != nil || found.stream == api.streamIfTold {
			t.Errorf("%s: stream is %v", api.path, found.stream)
		}
	}
}

// A stream that begins with an error is tried with another key; one that breaks later ends as broken, in its own API's words.
func TestFailuresOfEveryAPI(t *testing.T) {
	for _, api := range apis {
		calls := 0
		b := newBench(t, 2, func(w http.ResponseWriter, _ *http.Request) {
			if calls++; calls == 1 {
				sendEvents(w, api.media, api.failure)
				return
			}
			sendEvents(w, api.media, api.events...)
		})
		if a := b.do(b.request("POST", api.path, `{"model":"m","stream":true}`)); a.body != strings.Join(api.events, "") || calls != 2 {
			t.Errorf("%s: after %d calls %q", api.path, calls, a.body)
		}

		for what, rest := range map[string]string{"an error": api.failure, "a cut": ""} {
			b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) {
				sendEvents(w, api.media, api.events[0], rest)
				if rest == "" {
					panic(http.ErrAbortHandler)
				}
			})
			a := b.do(b.request("POST", api.path, `{"model":"m","stream":true}`))
			if !strings.HasPrefix(a.body, api.events[0]+api.told) || a.err == nil {
				t.Errorf("%s, %s: %q, %v", api.path, what, a.body, a.err)
			}
			if got := b.book.classes(); len(got) != 1 || got[0] != provider.Truncated {
				t.Errorf("%s, %s: settled %v", api.path, what, got)
			}
		}

		b = newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendEvents(w, api.media, api.events[0]) })
		if a := b.do(b.request("POST", api.path, `{"model":"m","stream":true}`)); a.err == nil {
			t.Errorf("%s: a stream without its end passed for a whole one: %q", api.path, a.body)
		}
	}
}

// A response that its own last event calls failed passes as it is, and is counted as what it is.
func TestAFailedResponse(t *testing.T) {
	responses := apis[1]
	const failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"x\"}}}\n\n"
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		sendEvents(w, responses.media, responses.events[0], failed)
	})
	a := b.do(b.request("POST", responses.path, `{"model":"m","stream":true}`))
	if a.body != responses.events[0]+failed || a.err != nil {
		t.Errorf("got %q, %v", a.body, a.err)
	}
	if got := b.book.classes(); len(got) != 1 || got[0] != provider.Truncated {
		t.Errorf("settled %v", got)
	}
}

// The pool's own errors are in the words of the API that was called, whatever is wrong.
func TestErrorsInTheClientsDialect(t *testing.T) {
	for _, api := range apis {
		b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		for _, row := range []struct {
			status int
			r      *http.Request
		}{
			{401, b.request("POST", api.path, askWhole, "Authorization", "")},
			{400, b.request("POST", api.path, `{`)},
			{405, b.request("PUT", api.path, askWhole)},
			{404, b.request("POST", "/nobody"+api.path, askWhole)},
			{404, b.request("POST", api.path+"/more", askWhole)},
			{503, b.request("POST", api.path, askWhole)},
		} {
			a := b.do(row.r)
			if a.status != row.status || !strings.HasPrefix(a.body, api.refusal) || !json.Valid([]byte(a.body)) {
				t.Errorf("%s: %d %s, want %d %s", row.r.URL.Path, a.status, a.body, row.status, api.refusal)
			}
		}
	}
}

func TestPathsThatDoNotGenerate(t *testing.T) {
	var asked []string
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type")+" "+string(body))
		sendJSON(w, 200, `{"embedding":[1.0,2.50]}`)
	})
	for _, path := range []string{"/v1/embeddings", "/api/embed", "/api/embeddings", "/api/show", "/v1/messages/count_tokens"} {
		if a := b.do(b.request("POST", path, `{"model":"m"}`)); a.body != `{"embedding":[1.0,2.50]}` {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := b.do(b.request("POST", "/api/show", `{"name":"m"}`)); a.status != 200 {
		t.Errorf("an older client's name: %d %s", a.status, a.body)
	}
	if a := b.do(b.request("POST", "/v1/embeddings", `{"name":"m"}`)); a.status != 400 {
		t.Errorf("a name where there is none: %d %s", a.status, a.body)
	}
	asked = nil
	for _, path := range []string{"/api/ps", "/api/version"} {
		if a := b.do(b.request("GET", path, "", "Content-Type", "")); a.body != `{"embedding":[1.0,2.50]}` {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if got := strings.Join(asked, ","); got != "GET /api/ps  ,GET /api/version  " {
		t.Errorf("asked %q", got)
	}
}

func TestOneModelAndOllamasList(t *testing.T) {
	const tags = `{"models":[{"name":"qwen3:8b","model":"qwen3:8b","size":5,"digest":"abc"},{"name":"org/kimi:1t","model":"org/kimi:1t"}]}`
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/api/tags") {
			sendJSON(w, 200, tags)
			return
		}
		sendJSON(w, 200, `{"data":[{"id":"openai/gpt-x","created":1700000000}]}`)
	})
	get := func(path string) answer { return b.do(b.request("GET", path, "")) }
	if a := get("/api/tags"); a.body != tags {
		t.Errorf("Ollama's own list has changed: %s", a.body)
	}
	for path, id := range map[string]string{
		"/v1/models/qwen3:8b": "qwen3:8b", "/v1/models/org/kimi:1t": "org/kimi:1t", "/v1/models/org%2Fkimi:1t": "org/kimi:1t",
		"/openrouter/v1/models/openai/gpt-x": "openai/gpt-x",
	} {
		var m struct{ ID, Object string }
		if a := get(path); json.Unmarshal([]byte(a.body), &m) != nil || m.ID != id || m.Object != "model" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := get("/v1/models/nope"); a.status != 404 || a.code() != "model_not_found" {
		t.Errorf("no such model: %d %s", a.status, a.body)
	}
	if a := get("/openrouter/api/tags"); a.body != `{"models":[{"name":"openai/gpt-x","model":"openai/gpt-x","modified_at":"2023-11-14T22:13:20Z","size":0,"digest":"","details":{}}]}` {
		t.Errorf("another provider's list as Ollama's: %s", a.body)
	}
	b.book.tokens[tokens.Digest(clientToken)].Models = []string{"qwen*"}
	if a := get("/api/tags"); a.body != `{"models":[{"name":"qwen3:8b","model":"qwen3:8b","size":5,"digest":"abc"}]}` {
		t.Errorf("with a token for some models: %s", a.body)
	}
	if a := get("/v1/models/org/kimi:1t"); a.status != 404 {
		t.Errorf("a model that the token may not use: %d", a.status)
	}
	b.book.ready = leases.ErrNeverSynced
	if a := get("/api/tags"); a.status != 503 || !strings.HasPrefix(a.body, `{"error":"`) {
		t.Errorf("not ready: %d %s", a.status, a.body)
	}
}

func TestAResponseThatFailedHasFailedWhateverFollows(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		sendStream(w, event(`{"type":"response.created"}`))
		pause(r, time.Second)
		sendStream(w, event(`{"type":"response.failed"}`)+": "+strings.Repeat("x", 100)+"\n")
	}, func(t *testing.T, b *bench) {
		b.do(b.request("POST", "/v1/responses", askStream))
		if ends := b.book.ends(); !slices.Equal(ends, []leases.End{leases.EndTruncated}) {
			t.Errorf("it ended as %v", ends)
		}
	})
}
