package provider

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestReadUsage(t *testing.T) {
	none := Usage{}
	for _, row := range []struct {
		why, data string
		want      Usage
		told      bool
	}{
		{"a chat completion tells it all", `{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}`, Usage{Input: 9, Output: 12}, true},
		{"cached tokens of OpenAI's are in the prompt already", `{"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":8}}}`, Usage{Input: 9, Output: 1}, true},
		{"so they are where both ways of telling are mixed", `{"usage":{"prompt_tokens":9,"completion_tokens":1,"cache_read_input_tokens":8}}`, Usage{Input: 9, Output: 1}, true},
		{"embeddings take input only", `{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":7,"total_tokens":7}}`, Usage{Input: 7}, true},
		{"a bare total is input", `{"usage":{"total_tokens":7}}`, Usage{Input: 7}, true},
		{"the events before the last tell nothing", `{"choices":[{"delta":{"content":"a"}}],"usage":null}`, none, false},
		{"an empty usage tells nothing", `{"usage":{}}`, none, false},
		{"nothing taken is told too", `{"usage":{"prompt_tokens":0,"completion_tokens":0}}`, none, true},
		{"a whole response tells it at the top", `{"object":"response","usage":{"input_tokens":5,"output_tokens":6,"total_tokens":11}}`, Usage{Input: 5, Output: 6}, true},
		{"a Responses stream tells it inside of the response", `{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":5,"output_tokens":6}}}`, Usage{Input: 5, Output: 6}, true},
		{"so does one that was cut short", `{"response":{"usage":{"input_tokens":5,"output_tokens":6}},"type":"response.incomplete"}`, Usage{Input: 5, Output: 6}, true},
		{"a response that has begun tells nothing", `{"type":"response.created","response":{"usage":null}}`, none, false},
		{"a response in an event of another kind does not count", `{"type":"other","response":{"usage":{"input_tokens":5}}}`, none, false},
		{
			"a message that starts tells its input, with what a cache holds of it",
			`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_creation_input_tokens":40,"cache_read_input_tokens":500,"output_tokens":1}}}`,
			Usage{Input: 543, Output: 1},
			true,
		},
		{"a message elsewhere does not count", `{"message":{"usage":{"input_tokens":3}},"type":"message"}`, none, false},
		{"a delta of a message tells its output", `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}`, Usage{Output: 15}, true},
		{"a whole message tells both", `{"type":"message","content":[],"usage":{"input_tokens":3,"output_tokens":4}}`, Usage{Input: 3, Output: 4}, true},
		{"an answer that only counts tokens took none", `{"input_tokens":2095}`, none, false},
		{"Ollama's last line tells both", `{"model":"m","done":true,"prompt_eval_count":26,"eval_count":259}`, Usage{Input: 26, Output: 259}, true},
		{"a prompt that Ollama had kept is not told", `{"done":true,"eval_count":259}`, Usage{Output: 259}, true},
		{"Ollama's embeddings take input only", `{"embeddings":[[0.5]],"prompt_eval_count":8}`, Usage{Input: 8}, true},
		{"Ollama's lines before the last tell nothing", `{"model":"m","message":{"role":"assistant","content":"a"},"done":false}`, none, false},

		{"a text about usage is a text", `{"choices":[{"delta":{"content":"{\"usage\":{\"prompt_tokens\":9}} \"eval_count\":3"}}]}`, none, false},
		{"arguments of a tool are the model's words", `{"message":{"tool_calls":[{"function":{"arguments":{"usage":{"prompt_tokens":9},"eval_count":3}}}]},"done":false}`, none, false},
		{"usage deeper down does not count", `{"choices":[{"usage":{"prompt_tokens":9}}]}`, none, false},
		{"figures deeper down do not count", `{"usage":{"details":{"prompt_tokens":9}}}`, none, false},

		{"a negative figure is none", `{"usage":{"prompt_tokens":-1,"completion_tokens":2}}`, Usage{Output: 2}, true},
		{"a fraction is none", `{"usage":{"prompt_tokens":1.5}}`, none, false},
		{"an exponent is none", `{"usage":{"prompt_tokens":1e3}}`, none, false},
		{"a text is none", `{"usage":{"prompt_tokens":"12"}}`, none, false},
		{"the largest whole number of JSON is one", `{"usage":{"prompt_tokens":9007199254740992}}`, Usage{Input: 1 << 53}, true},
		{"a larger one is none", `{"usage":{"prompt_tokens":9007199254740993}}`, none, false},
		{"one that would wrap around is none", `{"usage":{"prompt_tokens":18446744073709551617}}`, none, false},
		{"of two the last counts", `{"usage":{"prompt_tokens":1,"prompt_tokens":2}}`, Usage{Input: 2}, true},
		{"a list is no usage", `{"usage":[{"prompt_tokens":1}]}`, none, false},
		{"half an object tells nothing", `{"usage":{"prompt_tokens":1}`, none, false},
		{"the end of a stream tells nothing", `[DONE]`, none, false},
		{"nothing tells nothing", ``, none, false},
	} {
		if got, told := ReadUsage([]byte(row.data)); got != row.want || told != row.told {
			t.Errorf("%s: got %+v %v, want %+v %v", row.why, got, told, row.want, row.told)
		}
	}
}

func TestUsageOfSeveralEvents(t *testing.T) {
	for _, row := range []struct {
		why    string
		events []string
		want   Usage
	}{
		{"Anthropic tells input first and output last", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1}}}`,
			`{"type":"content_block_delta","delta":{"text":"a"}}`,
			`{"type":"message_delta","usage":{"output_tokens":10}}`,
			`{"type":"message_delta","usage":{"output_tokens":15}}`,
		}, Usage{Input: 25, Output: 15}},
		{"what is told again is not counted again", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":500}}}`,
			`{"type":"message_delta","usage":{"input_tokens":3,"cache_read_input_tokens":500,"output_tokens":15}}`,
		}, Usage{Input: 503, Output: 15}},
		{"what is told in parts keeps its other part", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":500}}}`,
			`{"type":"message_delta","usage":{"input_tokens":3,"output_tokens":15}}`,
		}, Usage{Input: 503, Output: 15}},
		{"an estimate is corrected, also downwards", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":30}}}`,
			`{"type":"message_delta","usage":{"input_tokens":26,"output_tokens":15}}`,
		}, Usage{Input: 26, Output: 15}},
		{"a zero corrects nothing", []string{
			`{"type":"message_start","message":{"usage":{"input_tokens":30}}}`,
			`{"type":"message_delta","usage":{"input_tokens":0,"output_tokens":15}}`,
		}, Usage{Input: 30, Output: 15}},
		{"usage that grows with each event is the last", []string{
			`{"usage":{"prompt_tokens":9,"completion_tokens":1}}`, `{"usage":{"prompt_tokens":9,"completion_tokens":2}}`, `{"usage":null}`,
		}, Usage{Input: 9, Output: 2}},
	} {
		var r UsageReader
		for _, e := range row.events {
			r.Read([]byte(e))
		}
		if got, told := r.Usage(); got != row.want || !told {
			t.Errorf("%s: got %+v %v, want %+v", row.why, got, told, row.want)
		}
	}
}

func TestReadingUsageAllocatesNothing(t *testing.T) {
	for _, data := range []string{
		`{"choices":[{"delta":{"content":"a"}}],"usage":null}`,
		`{"usage":{"prompt_tokens":9,"completion_tokens":12,"prompt_tokens_details":{"cached_tokens":0}}}`,
		`{"type":"response.completed","response":{"usage":{"input_tokens":5}}}`,
		`{"done":true,"eval_count":259}`,
	} {
		event := []byte(data)
		var r UsageReader
		if n := testing.AllocsPerRun(100, func() { r.Read(event) }); n != 0 {
			t.Errorf("%s: %v allocations", data, n)
		}
	}
}

// FuzzReadUsage compares with what encoding/json makes of the same bytes.
func FuzzReadUsage(f *testing.F) {
	for _, seed := range []string{
		`{"usage":{"prompt_tokens":9,"completion_tokens":12}}`, `{"usage":null}`, `{"eval_count":1,"prompt_eval_count":2}`,
		`{"type":"message_start","message":{"usage":{"input_tokens":3,"cache_read_input_tokens":4}}}`,
		`{"type":"response.completed","response":{"usage":{"output_tokens":3}}}`, `{"usage":{"total_tokens":1}}`,
		`{"usage":{"prompt_tokens":9007199254740993}}`, `{"usage":{"usage":{"prompt_tokens":1}}}`, `{"usage":`, `{"content":"\"usage\""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, told := ReadUsage(data)
		if !told {
			if got != (Usage{}) {
				t.Errorf("nothing told, yet %+v", got)
			}
			return
		}
		if !json.Valid(data) {
			t.Errorf("what is no JSON tells %+v", got)
		}
		if got.Input > 3<<53 || got.Output > 1<<53 || got.Estimated {
			t.Errorf("no count of tokens: %+v", got)
		}
		if !strings.Contains(string(data), "_tokens") && !strings.Contains(string(data), `eval_count"`) && !strings.Contains(string(data), `\u`) {
			t.Errorf("nobody spoke of tokens, yet %+v", got)
		}
		var r UsageReader
		r.Read(data)
		r.Read(data)
		if twice, _ := r.Usage(); twice != got {
			t.Errorf("told twice: %+v, once: %+v", twice, got)
		}
	})
}

func BenchmarkReadUsage(b *testing.B) {
	long := `{"choices":[{"message":{"content":"` + strings.Repeat("some words ", 400) + `"}}],"usage":{"prompt_tokens":9,"completion_tokens":12}}`
	for _, row := range []struct{ name, data string }{
		{"none", `{"id":"x","choices":[{"delta":{"content":"some words"},"finish_reason":null}]}`},
		{"null", `{"id":"x","choices":[{"delta":{"content":"some words"},"finish_reason":null}],"usage":null}`},
		{"told", `{"id":"x","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}}`},
		{"whole", long},
	} {
		data := []byte(row.data)
		b.Run(row.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ReadUsage(data)
			}
		})
	}
}
