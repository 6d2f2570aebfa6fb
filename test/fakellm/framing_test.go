package fakellm

import (
	"strings"
	"testing"
	"time"
)

// exact is what an API answers to "hello there", whole and in two pieces, at noon of
// 2026-01-02. $T is its Unix time.
var exact = []struct{ path, whole, stream string }{
	{
		"/v1/completions",
		`{"id":"cmpl-1","object":"text_completion","created":$T,"model":"gpt-oss:20b","choices":[{"index":0,"text":"echo: hello there","finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}`,
		`data: {"id":"cmpl-1","object":"text_completion","created":$T,"model":"gpt-oss:20b","choices":[{"index":0,"text":"echo: he","finish_reason":null}]}

data: {"id":"cmpl-1","object":"text_completion","created":$T,"model":"gpt-oss:20b","choices":[{"index":0,"text":"llo there","finish_reason":null}]}

data: {"id":"cmpl-1","object":"text_completion","created":$T,"model":"gpt-oss:20b","choices":[{"index":0,"text":"","finish_reason":"stop"}]}

data: [DONE]

`,
	},
	{
		"/v1/responses",
		`{"id":"resp_1","object":"response","created_at":$T,"status":"completed","error":null,"model":"gpt-oss:20b","output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"echo: hello there","annotations":[]}]}],"usage":{"input_tokens":2,"output_tokens":3,"total_tokens":5}}`,
		`event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":$T,"status":"in_progress","error":null,"model":"gpt-oss:20b","output":[],"usage":null}}

event: response.in_progress
data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_1","object":"response","created_at":$T,"status":"in_progress","error":null,"model":"gpt-oss:20b","output":[],"usage":null}}

event: response.output_item.added
data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}

event: response.content_part.added
data: {"type":"response.content_part.added","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"echo: he"}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"llo there"}

event: response.output_text.done
data: {"type":"response.output_text.done","sequence_number":6,"item_id":"msg_1","output_index":0,"content_index":0,"text":"echo: hello there"}

event: response.content_part.done
data: {"type":"response.content_part.done","sequence_number":7,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"echo: hello there","annotations":[]}}

event: response.output_item.done
data: {"type":"response.output_item.done","sequence_number":8,"output_index":0,"item":{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"echo: hello there","annotations":[]}]}}

event: response.completed
data: {"type":"response.completed","sequence_number":9,"response":{"id":"resp_1","object":"response","created_at":$T,"status":"completed","error":null,"model":"gpt-oss:20b","output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"echo: hello there","annotations":[]}]}],"usage":{"input_tokens":2,"output_tokens":3,"total_tokens":5}}}

`,
	},
	{
		"/v1/messages",
		`{"id":"msg_1","type":"message","role":"assistant","model":"gpt-oss:20b","content":[{"type":"text","text":"echo: hello there"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":2,"output_tokens":3}}`,
		`event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"gpt-oss:20b","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":2,"output_tokens":0}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"echo: he"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"llo there"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":2,"output_tokens":3}}

event: message_stop
data: {"type":"message_stop"}

`,
	},
	{
		"/api/chat",
		`{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","message":{"role":"assistant","content":"echo: hello there"},"done":true,"done_reason":"stop","total_duration":6000000,"load_duration":1000000,"prompt_eval_count":2,"prompt_eval_duration":2000000,"eval_count":3,"eval_duration":3000000}`,
		`{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","message":{"role":"assistant","content":"echo: he"},"done":false}
{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","message":{"role":"assistant","content":"llo there"},"done":false}
{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":6000000,"load_duration":1000000,"prompt_eval_count":2,"prompt_eval_duration":2000000,"eval_count":3,"eval_duration":3000000}
`,
	},
	{
		"/api/generate",
		`{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","response":"echo: hello there","done":true,"done_reason":"stop","total_duration":6000000,"load_duration":1000000,"prompt_eval_count":2,"prompt_eval_duration":2000000,"eval_count":3,"eval_duration":3000000}`,
		`{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","response":"echo: he","done":false}
{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","response":"llo there","done":false}
{"model":"gpt-oss:20b","created_at":"2026-01-02T12:00:00Z","response":"","done":true,"done_reason":"stop","total_duration":6000000,"load_duration":1000000,"prompt_eval_count":2,"prompt_eval_duration":2000000,"eval_count":3,"eval_duration":3000000}
`,
	},
	{
		"/v1/embeddings",
		`{"data":[{"object":"embedding","index":0,"embedding":[0.140625,-0.8046875,-0.90625,0.0078125,0.875,0.796875,-0.1640625,0.1015625]}],"model":"gpt-oss:20b","object":"list","usage":{"prompt_tokens":2,"total_tokens":2}}`,
		"",
	},
	{
		"/api/embed",
		`{"model":"gpt-oss:20b","embeddings":[[0.140625,-0.8046875,-0.90625,0.0078125,0.875,0.796875,-0.1640625,0.1015625]],"total_duration":3000000,"load_duration":1000000,"prompt_eval_count":2,"prompt_eval_duration":2000000}`,
		"",
	},
	{"/api/embeddings", `{"embedding":[0.140625,-0.8046875,-0.90625,0.0078125,0.875,0.796875,-0.1640625,0.1015625]}`, ""},
	{"/v1/messages/count_tokens", `{"input_tokens":2}`, ""},
}

func TestAnswersAreExact(t *testing.T) {
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for _, tt := range exact {
		for _, stream := range []bool{false, true} {
			r := newRig(t, Config{Now: func() time.Time { return noon }}, map[string]Behaviour{goodKey: {Chunks: 2}})
			want := tt.whole
			if stream && tt.stream != "" {
				want = tt.stream
			}
			want = strings.ReplaceAll(want, "$T", "1767355200")
			if got := r.do("POST", tt.path, goodKey, askAny(stream)); got.body != want {
				t.Errorf("%s, stream %v: got\n%s\nwant\n%s", tt.path, stream, got.body, want)
			}
		}
	}
}
