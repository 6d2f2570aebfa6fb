package fakellm

import (
	"strings"
	"testing"
	"time"
)

// TestBehaviours shows each behaviour to a client over a real socket, and then
// what the ledger says of it.
func TestBehaviours(t *testing.T) {
	tests := []struct {
		sentence string
		b        Behaviour
		body     string
		status   int
		cut      bool
		contains string
		lacks    string
		outcome  string
		events   int
	}{
		{"A good key serves a JSON answer", Behaviour{}, ask, 200, false, `"content":"echo: hello there"`, "data:", Completed, 0},
		{"A good key serves a stream", Behaviour{}, askSSE, 200, false, "data: [DONE]\n\n", "usage", Completed, 5},
		{"A status is answered in the dialect's shape", Behaviour{Status: 500}, ask, 500, false, `"type":"api_error","param":null,"code":null`, "echo", Refused, 0},
		{"A status refuses a stream too", Behaviour{Status: 503}, askSSE, 503, false, `{"error":{"message"`, "data:", Refused, 0},
		{"A status 529 has a text of its own", Behaviour{Status: 529}, ask, 529, false, "status 529", "", Refused, 0},
		{"A redirect is a refusal", Behaviour{Status: 307, Header: map[string]string{"Location": "/elsewhere"}}, ask, 307, false, "", "echo", Refused, 0},
		{"A 304 has no body", Behaviour{Status: 304}, ask, 304, false, "", "error", Refused, 0},
		{"A body override replaces the error", Behaviour{Status: 403, Body: "go away"}, ask, 403, false, "go away", "error", Refused, 0},
		{"A body override replaces the answer", Behaviour{Body: "\x00 not json"}, ask, 200, false, "\x00 not json", "echo", Completed, 0},
		{"A body override replaces the stream", Behaviour{Body: "data: a\r\n\rdata: b\n\n"}, askSSE, 200, false, "data: a\r\n\rdata: b\n\n", "DONE", Completed, 0},
		{"A reset cuts before the headers", Behaviour{Reset: true}, ask, 0, true, "", "", Cut, 0},
		{"A first-event error is a 200 with an error event", Behaviour{FirstEventError: true}, askSSE, 200, false, `data: {"error":`, "DONE", Broken, 0},
		{"A first-event error is a 200 with an error member", Behaviour{FirstEventError: true}, ask, 200, false, `{"error":`, "data:", Broken, 0},
		{"A first-event error may be worded", Behaviour{FirstEventError: true, Body: `{"error":"x"}`}, askSSE, 200, false, "data: {\"error\":\"x\"}\n\n", "DONE", Broken, 0},
		{"A late error follows content", Behaviour{ErrorAfter: 2}, askSSE, 200, false, `data: {"error":`, "DONE", Broken, 2},
		{"A late error in JSON is an error member", Behaviour{ErrorAfter: 2}, ask, 200, false, `{"error":`, "echo", Broken, 0},
		{"A truncated stream is cut", Behaviour{TruncateAfter: 2}, askSSE, 200, true, "echo", "DONE", Cut, 2},
		{"A stream truncated beyond its events has no DONE", Behaviour{TruncateAfter: 99}, askSSE, 200, true, `"finish_reason":"stop"`, "DONE", Cut, 5},
		{"A truncated JSON answer is cut", Behaviour{TruncateAfter: 1}, ask, 200, true, `{"id"`, "usage", Cut, 0},
		{"A stream that ends early ends cleanly", Behaviour{EndEarlyAfter: 3}, askSSE, 200, false, "data:", "DONE", Broken, 3},
		{"A JSON answer that ends early ends cleanly", Behaviour{EndEarlyAfter: 1}, ask, 200, false, `{"id"`, "usage", Broken, 0},
		{"HTML is a page for a stream", Behaviour{HTML: true}, askSSE, 200, false, "<!DOCTYPE html>", "data:", Broken, 0},
		{"HTML is a page for JSON", Behaviour{HTML: true}, ask, 200, false, "<!DOCTYPE html>", "echo", Broken, 0},
		{"An empty stream has no event", Behaviour{EmptyStream: true}, askSSE, 200, false, "", "data", Broken, 0},
		{"An empty stream of comments has no event", Behaviour{EmptyStream: true, Comments: 1}, askSSE, 200, false, comment, "data", Broken, 0},
		{"An empty answer has no body", Behaviour{EmptyStream: true}, ask, 200, false, "", "{", Broken, 0},
		{"Comments come before the first event", Behaviour{Comments: 2}, askSSE, 200, false, comment + comment + "data: ", "", Completed, 5},
		{"Chunks set the number of content events", Behaviour{Chunks: 40}, askSSE, 200, false, "[DONE]", "", Completed, 42},
		{"A forbidden model is refused", Behaviour{ForbidModels: []string{DefaultModel}}, ask, 403, false, "no access to model", "", Refused, 0},
		{"Another forbidden model does not matter", Behaviour{ForbidModels: []string{"big"}}, ask, 200, false, "echo", "", Completed, 0},
		{"A delay ends with the answer", Behaviour{Delay: time.Millisecond}, ask, 200, false, "echo", "", Completed, 0},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			r := newRig(t, Config{}, map[string]Behaviour{goodKey: tt.b})
			got := r.chat(goodKey, tt.body)
			if got.status != tt.status || got.cut != tt.cut {
				t.Errorf("status %d, cut %v; want %d, %v", got.status, got.cut, tt.status, tt.cut)
			}
			if !strings.Contains(got.body, tt.contains) {
				t.Errorf("body %q lacks %q", got.body, tt.contains)
			}
			if tt.lacks != "" && strings.Contains(got.body, tt.lacks) {
				t.Errorf("body %q has %q", got.body, tt.lacks)
			}
			e := r.last()
			if e.Outcome != tt.outcome || e.Status != tt.status || e.Events != tt.events {
				t.Errorf("ledger says %s, %d, %d events; want %s, %d, %d", e.Outcome, e.Status, e.Events, tt.outcome, tt.status, tt.events)
			}
			if e.RequestID != "r1" || e.Key != goodKey || e.End.Before(e.Start) {
				t.Errorf("ledger entry %+v is not of this request", e)
			}
		})
	}
}

func TestTurnsOfABehaviour(t *testing.T) {
	tests := []struct {
		sentence string
		b        Behaviour
		want     []int
	}{
		{"Times ends a behaviour after n requests", Behaviour{Status: 500, Times: 2}, []int{500, 500, 200, 200}},
		{"A script plays in turn and its last step repeats", Behaviour{Script: []Behaviour{{Status: 429}, {}, {Status: 503}}}, []int{429, 200, 503, 503}},
		{"Without either it lasts for ever", Behaviour{Status: 402}, []int{402, 402, 402}},
		{"A limit refusal takes no turn", Behaviour{Script: []Behaviour{{Status: 500}, {}}, Limits: Limits{RequestsPerMinute: 1}}, []int{500, 429, 429}},
	}
	for _, tt := range tests {
		t.Run(tt.sentence, func(t *testing.T) {
			r := newRig(t, Config{}, map[string]Behaviour{goodKey: tt.b})
			for i, want := range tt.want {
				if got := r.chat(goodKey, ask).status; got != want {
					t.Errorf("request %d: %d, want %d", i+1, got, want)
				}
			}
		})
	}
	t.Run("Setting a key again begins anew", func(t *testing.T) {
		r := newRig(t, Config{}, map[string]Behaviour{goodKey: {Status: 500, Times: 1}})
		r.chat(goodKey, ask)
		if err := r.up.SetKey(goodKey, Behaviour{Status: 500, Times: 1}); err != nil {
			t.Fatal(err)
		}
		if got := r.chat(goodKey, ask).status; got != 500 {
			t.Errorf("got %d, want 500", got)
		}
	})
}

func TestAScriptIsNotTheCallersAnyMore(t *testing.T) {
	script := []Behaviour{{Status: 500}}
	r := newRig(t, Config{}, map[string]Behaviour{goodKey: {Script: script}})
	script[0].Status = 200
	if got := r.chat(goodKey, ask).status; got != 500 {
		t.Errorf("got %d: the behaviour changed behind the provider's back", got)
	}
}
