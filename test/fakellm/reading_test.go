package fakellm

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWhatIsUnderstood shows the ways to say a thing, and what is made of them.
func TestWhatIsUnderstood(t *testing.T) {
	const model = `"model":"gpt-oss:20b",`
	const parts = `[{"type":"text","text":"hé"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"llo"}]`
	const tools = `"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","required":["city","unit","days","sure","where"],"properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["C","F"]},"days":{"type":"integer"},"sure":{"type":"boolean"},"where":{"type":"object"},"why":{"type":"string"}}}}}],`
	const call = `"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"a tool\",\"days\":1,\"sure\":true,\"unit\":\"C\",\"where\":null}"}}]`
	const cityOnly = `{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}`
	const flat = `"tools":[{"type":"function","name":"weather","parameters":` + cityOnly + `}],`
	const anthropicTools = `"tools":[{"name":"weather","input_schema":` + cityOnly + `}],`
	tests := []struct {
		sentence, path, body string
		contains             string
		prompt, made         int
	}{
		{"Parts with an image are echoed by their text", "/v1/chat/completions", `{` + model + `"messages":[{"role":"user","content":` + parts + `}]}`, `"content":"echo: héllo"`, 1, 2},
		{"Nothing but an image is echoed by nothing", "/v1/chat/completions", `{` + model + `"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, `"content":"echo: "`, 0, 1},
		{"A tool is called if the user says so", "/v1/chat/completions", `{` + tools + model + `"messages":[{"role":"user","content":"a tool"}]}`, `"message":{"role":"assistant","content":"",` + call + `},"finish_reason":"tool_calls"`, 2, 2},
		{"A tool is not called if the user does not", "/v1/chat/completions", `{` + tools + model + `"messages":[{"role":"user","content":"hi"}]}`, `"content":"echo: hi"`, 1, 2},
		{"A tool is not called again after its result", "/v1/chat/completions", `{` + tools + model + `"messages":[{"role":"user","content":"a tool"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"the tool says sun"}]}`, `"content":"echo: a tool"`, 6, 3},
		{"No tool is called if there is none", "/v1/chat/completions", `{` + model + `"messages":[{"role":"user","content":"a tool"}]}`, `"content":"echo: a tool"`, 2, 3},
		{"By responses a tool is called as well", "/v1/responses", `{` + flat + model + `"input":"a tool"}`, `"output":[{"id":"msg_1","type":"function_call","status":"completed","call_id":"call_1","name":"weather","arguments":"{\"city\":\"a tool\"}"}]`, 2, 2},
		{"Not if there is none", "/v1/responses", `{` + model + `"input":"a tool"}`, `"text":"echo: a tool"`, 2, 3},
		{"By Anthropic's messages its arguments are an object", "/v1/messages", `{` + anthropicTools + model + `"max_tokens":1,"messages":[{"role":"user","content":"a tool"}]}`, `"content":[{"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"a tool"}}],"stop_reason":"tool_use"`, 2, 2},
		{"A tool's result comes as a user's message there", "/v1/messages", `{` + anthropicTools + model + `"max_tokens":1,"messages":[{"role":"user","content":"a tool"},{"role":"assistant","content":[]},{"role":"user","content":[{"type":"tool_result","content":"the tool says sun"}]}]}`, `"content":[{"type":"text","text":"echo: "}],"stop_reason":"end_turn"`, 2, 1},
		{"So they are with Ollama", "/api/chat", `{"stream":false,` + tools + model + `"messages":[{"role":"user","content":"a tool"}]}`, `"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"a tool","days":1,"sure":true,"unit":"C","where":null}}}]},"done":true,"done_reason":"stop"`, 2, 2},
		{"Which streams them in one piece", "/api/chat", `{` + tools + model + `"messages":[{"role":"user","content":"a tool"}]}`, `"where":null}}}]},"done":false}` + "\n", 2, 2},
		{"And does not call again after the result", "/api/chat", `{"stream":false,` + tools + model + `"messages":[{"role":"user","content":"a tool"},{"role":"tool","content":"the tool says sun"}]}`, `"content":"echo: a tool"`, 6, 3},
		{"Several prompts are one", "/v1/completions", `{` + model + `"prompt":["a","b c"]}`, `"text":"echo: a\nb c"`, 3, 4},
		{"A prompt of tokens is echoed as such", "/v1/completions", `{` + model + `"prompt":[1,2,3]}`, `"text":"echo: [1 2 3]"`, 3, 4},
		{"The usage of a text stream may be asked for", "/v1/completions", `{` + model + `"stream":true,"stream_options":{"include_usage":true},"prompt":"a"}`, `"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}` + "\n\ndata: [DONE]", 1, 2},
		{"The input of a response may be a string", "/v1/responses", `{` + model + `"instructions":"be brief","input":"hi"}`, `"text":"echo: hi"`, 3, 2},
		{"Or messages, of which the user's last counts", "/v1/responses", `{` + model + `"input":[{"role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image"}]},{"type":"function_call_output","output":"x"},{"role":"assistant","content":"b"}]}`, `"text":"echo: a"`, 2, 2},
		{"A system prompt may be in blocks", "/v1/messages", `{` + model + `"max_tokens":1,"system":[{"type":"text","text":"be brief"}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image","source":{}}]}]}`, `"text":"echo: hi"`, 3, 2},
		{"Tokens are counted without a limit to them", "/v1/messages/count_tokens", `{` + model + `"system":"be brief","messages":[{"role":"user","content":"hi"}]}`, `{"input_tokens":3}`, 0, 0},
		{"Ollama streams when it is not told", "/api/chat", `{` + model + `"messages":[{"role":"user","content":"hi","images":["AAAA"]}]}`, `"done":false}` + "\n", 1, 2},
		{"So does its other way", "/api/generate", `{` + model + `"system":"be brief","prompt":"hi"}`, `"done":false}` + "\n", 3, 2},
		{"No message loads the model, in one line", "/api/chat", `{` + model + `"messages":[]}`, `"message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}`, 0, 0},
		{"Nor does an empty prompt", "/api/generate", `{` + model + `"stream":true}`, `"response":"","done":true,"done_reason":"load"}`, 0, 0},
		{"Many inputs have many vectors", "/api/embed", `{` + model + `"input":["a","b"]}`, `"embeddings":[[`, 2, 0},
		{"An older client has one prompt", "/api/embeddings", `{` + model + `"prompt":"a b"}`, `{"embedding":[`, 2, 0},
		{"Lists of tokens are inputs", "/v1/embeddings", `{` + model + `"input":[[1,2],[3]]}`, `"index":1`, 3, 0},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
			got := r.do("POST", tt.path, goodKey, tt.body)
			if got.status != 200 || !strings.Contains(got.body, tt.contains) {
				t.Errorf("%d %s\nlacks %s", got.status, got.body, tt.contains)
			}
			if e := r.last(); e.PromptTokens != tt.prompt || e.CompletionTokens != tt.made {
				t.Errorf("usage %d and %d", e.PromptTokens, e.CompletionTokens)
			}
		})
	}
}

func TestLoadingAModelIsNoStream(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	for _, path := range []string{"/api/chat", "/api/generate"} {
		got := r.do("POST", path, goodKey, `{"model":"gpt-oss:20b"}`)
		if got.header.Get("Content-Type") != "application/json" || !json.Valid([]byte(got.body)) || r.last().Events != 0 {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestAToolCallIsStreamed(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	body := r.chat(goodKey, `{"model":"gpt-oss:20b","stream":true,"tools":[{"function":{"name":"f","parameters":{"required":["x"],"properties":{"x":{"type":"string"}}}}}],"messages":[{"role":"user","content":"tool"}]}`).body
	var arguments, reason string
	for data := range strings.SplitSeq(strings.TrimSuffix(body, "data: [DONE]\n\n"), "data: ") {
		var got wireCompletion
		if data == "" || json.Unmarshal([]byte(data), &got) != nil {
			continue
		}
		for _, c := range got.Choices[0].Delta.ToolCalls {
			arguments += c.Function.Arguments
		}
		if f := got.Choices[0].FinishReason; f != nil {
			reason = *f
		}
	}
	if want := ToolArguments([]byte(`{"required":["x"],"properties":{"x":{"type":"string"}}}`), "tool"); arguments != want || reason != "tool_calls" {
		t.Errorf("arguments %s, want %s; finished by %s", arguments, want, reason)
	}
	if first := `"delta":{"role":"assistant","content":"","tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}`; !strings.Contains(body, first) {
		t.Errorf("%s lacks %s", body, first)
	}
	if r.last().Events != 5 {
		t.Errorf("%d events, as many as of a text", r.last().Events)
	}
}

// The other APIs frame the pieces of the arguments in their own ways, which put together are the arguments.
func TestAToolCallIsStreamedByTheOtherAPIs(t *testing.T) {
	const schema = `{"required":["x"],"properties":{"x":{"type":"string"}}}`
	for path, tt := range map[string]struct {
		body   string
		events int
		holds  []string
	}{
		"/v1/responses": {`"tools":[{"type":"function","name":"f","parameters":` + schema + `}],"input":"tool"`, 8, []string{
			`"arguments":"{\"x\":\"tool\"}"}]`,
			`event: response.output_item.added`, `"item":{"id":"msg_1","type":"function_call","status":"in_progress","call_id":"call_1","name":"f","arguments":""}`,
			`"type":"response.function_call_arguments.done","sequence_number":6,"item_id":"msg_1","output_index":0,"arguments":"{\"x\":\"tool\"}"}`,
		}},
		"/v1/messages": {`"max_tokens":9,"tools":[{"name":"f","input_schema":` + schema + `}],"messages":[{"role":"user","content":"tool"}]`, 8, []string{
			`"delta":{"stop_reason":"tool_use","stop_sequence":null}`,
			`"index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}`,
		}},
	} {
		r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
		body := r.do("POST", path, goodKey, `{"model":"gpt-oss:20b","stream":true,`+tt.body+`}`).body
		var arguments strings.Builder
		for line := range strings.Lines(body) {
			var got struct{ Delta json.RawMessage }
			if data, ok := strings.CutPrefix(line, "data: "); !ok || json.Unmarshal([]byte(data), &got) != nil {
				continue
			}
			var piece string
			var block anthropicBlock
			switch {
			case json.Unmarshal(got.Delta, &piece) == nil:
				arguments.WriteString(piece)
			case json.Unmarshal(got.Delta, &block) == nil && block.PartialJSON != nil:
				arguments.WriteString(*block.PartialJSON)
			}
		}
		if want := ToolArguments([]byte(schema), "tool"); arguments.String() != want || r.last().Events != tt.events {
			t.Errorf("%s: arguments %s, want %s; %d events, want %d", path, arguments.String(), want, r.last().Events, tt.events)
		}
		for _, want := range tt.holds {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %s\nlacks %s", path, body, want)
			}
		}
	}
}

func TestAVectorIsTheSameInBase64(t *testing.T) {
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {}})
	var got struct {
		Data []struct {
			Index     int    `json:"index"`
			Embedding []byte `json:"embedding"`
		} `json:"data"`
	}
	body := r.do("POST", "/v1/embeddings", goodKey, `{"model":"gpt-oss:20b","encoding_format":"base64","input":["a","b"]}`).body
	if err := json.Unmarshal([]byte(body), &got); err != nil || len(got.Data) != 2 {
		t.Fatalf("%s: %v", body, err)
	}
	for i, input := range []string{"a", "b"} {
		var v []float32
		for raw := got.Data[i].Embedding; len(raw) > 0; raw = raw[4:] {
			v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		}
		if want := Embedding(input); !slices.Equal(v, want) || got.Data[i].Index != i {
			t.Errorf("%s: %v, want %v", base64.StdEncoding.EncodeToString(got.Data[i].Embedding), v, want)
		}
	}
	if slices.Equal(Embedding("a"), Embedding("b")) {
		t.Error("different inputs must have different vectors")
	}
}

// TestEveryAPIRefusesInItsOwnWords goes through the ways of saying no.
func TestEveryAPIRefusesInItsOwnWords(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	openAI := func(message string) string {
		return `{"error":{"message":"` + message + `","type":"api_error","param":null,"code":null}}`
	}
	anthropic := func(kind, message string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":"req_1"}`
	}
	ollama := func(message string) string { return `{"error":"` + message + `"}` }
	say := map[shape]func(kind, message string) string{
		dialectShape: func(_, m string) string { return openAI(m) }, anthropicShape: anthropic,
		ollamaShape: func(_, m string) string { return ollama(m) },
	}
	tests := []struct {
		sentence, key, body string
		status              int
		kind, message       string
	}{
		{"An unknown key", "sk-unknown", askAny(false), 401, "authentication_error", "unauthorized: invalid API key"},
		{"An unknown key, before the body is judged", "sk-unknown", `{`, 401, "authentication_error", "unauthorized: invalid API key"},
		{"No key", "", askAny(false), 401, "authentication_error", "unauthorized: invalid API key"},
		{"An empty body", goodKey, " ", 400, "invalid_request_error", "the request body is empty"},
		{"Broken JSON", goodKey, `{"model":`, 400, "invalid_request_error", "the request body is no valid JSON for this path"},
		{"A member of another type", goodKey, `{"model":7}`, 400, "invalid_request_error", "the request body is no valid JSON for this path"},
		{"An unknown model", goodKey, strings.ReplaceAll(askAny(false), DefaultModel, "nope"), 404, "not_found_error", "model 'nope' not found"},
		{"A key without credit", "broke", askAny(true), 402, "billing_error", "you have reached your weekly usage limit"},
		{"A forbidden key", "forbidden", askAny(true), 403, "permission_error", "forbidden"},
		{"A broken upstream", "broken", askAny(true), 500, "api_error", "Internal Server Error"},
		{"An overloaded upstream", "overloaded", askAny(true), 529, "overloaded_error", "status 529"},
	}
	keys := map[string]Behaviour{
		goodKey: {}, "broke": {Status: 402}, "forbidden": {Status: 403}, "broken": {Status: 500}, "overloaded": {Status: 529},
		"reset": {Status: 429, ResetIn: 90 * time.Second},
	}
	cfg := Config{Now: func() time.Time { return noon }}
	for path, api := range modelPaths {
		for _, tt := range tests {
			t.Run(tt.sentence+" at "+path, func(t *testing.T) {
				got := newRig(t, cfg, keys).do("POST", path, tt.key, tt.body)
				if want := say[api.errors](tt.kind, tt.message); got.status != tt.status || got.body != want {
					t.Errorf("got %d %s\nwant %d %s", got.status, got.body, tt.status, want)
				}
			})
		}
		t.Run("A limit that resets at "+path, func(t *testing.T) {
			got := newRig(t, cfg, keys).do("POST", path, "reset", askAny(true))
			const date = "2026-01-01T12:01:30Z"
			if header := got.header.Get("Anthropic-Ratelimit-Requests-Reset"); (header == date) != (api.errors == anthropicShape) {
				t.Errorf("the header says %q", header)
			}
			if strings.Contains(got.body, "resets at "+date) != (api.errors != anthropicShape) {
				t.Errorf("the body says %s", got.body)
			}
		})
		t.Run("A wrong method at "+path, func(t *testing.T) {
			if got := newRig(t, cfg, keys).do("GET", path, goodKey, ""); got.status != 405 || got.header.Get("Allow") != "POST" {
				t.Errorf("got %d", got.status)
			}
		})
		t.Run("A missing member at "+path, func(t *testing.T) {
			if got := newRig(t, cfg, keys).do("POST", path, goodKey, "{}"); got.status != 400 {
				t.Errorf("got %d %s", got.status, got.body)
			}
		})
	}
}
