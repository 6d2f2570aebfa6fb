package fakellm

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// askAny is understood by every API: none minds the others' members.
func askAny(stream bool) string {
	return fmt.Sprintf(`{"model":"gpt-oss:20b","user":"r1","stream":%t,"max_tokens":9,"prompt":"hello there",`+
		`"input":"hello there","messages":[{"role":"user","content":"hello there"}]}`, stream)
}

// generating are the ways to ask for text, and how their streams differ.
var generating = []struct {
	path, contentType string
	events            int // of three pieces, without the last
	end               string
	firstError        string
	lateError         string
}{
	{"/v1/chat/completions", "text/event-stream", 5, "data: [DONE]\n\n", `data: {"error":{`, `data: {"error":{`},
	{"/v1/completions", "text/event-stream", 4, "data: [DONE]\n\n", `data: {"error":{`, `data: {"error":{`},
	{
		"/v1/responses", "text/event-stream", 10, "event: response.completed\n",
		`event: error` + "\n" + `data: {"type":"error","code":"rate_limit_exceeded","message":"rate limit exceeded","param":null,"sequence_number":0}` + "\n\n",
		`event: response.failed` + "\n" + `data: {"type":"response.failed","sequence_number":2,"response":{"id":"resp_1",`,
	},
	{
		"/v1/messages", "text/event-stream", 8, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		"event: error\n" + `data: {"type":"error","error":{"type":"rate_limit_error","message":"rate limit exceeded"},"request_id":"req_1"}` + "\n\n",
		"event: error\n" + `data: {"type":"error",`,
	},
	{"/api/chat", "application/x-ndjson", 3, `"done":true`, `{"error":"rate limit exceeded"}` + "\n", `{"error":"rate limit exceeded"}` + "\n"},
	{"/api/generate", "application/x-ndjson", 3, `"done":true`, `{"error":"rate limit exceeded"}` + "\n", `{"error":"rate limit exceeded"}` + "\n"},
}

func TestEveryAPIStreamsAndMisbehaves(t *testing.T) {
	const all = 1000
	tests := []struct {
		sentence string
		b        Behaviour
		outcome  string
		events   int
		cut      bool
		ends     bool
		says     string // "first" or "late" error, or this
	}{
		{"A good key serves a stream", Behaviour{}, Completed, all, false, true, ""},
		{"Comments come before it", Behaviour{Comments: 2}, Completed, all, false, true, "comments"},
		{"Four pieces are one more than three", Behaviour{Chunks: 4}, Completed, all + 1, false, true, ""},
		{"An interval changes nothing but the time", Behaviour{ChunkInterval: time.Microsecond}, Completed, all, false, true, ""},
		{"A first-event error comes alone", Behaviour{FirstEventError: true, ErrorCode: 429}, Broken, 0, false, false, "first"},
		{"An error may be worded", Behaviour{FirstEventError: true, Body: `{"oops":1}`}, Broken, 0, false, false, `{"oops":1}`},
		{"A late error follows content", Behaviour{ErrorAfter: 2, ErrorCode: 429}, Broken, 2, false, false, "late"},
		{"A truncated stream is cut", Behaviour{TruncateAfter: 1}, Cut, 1, true, false, ""},
		{"A stream truncated beyond its events has no end", Behaviour{TruncateAfter: 99}, Cut, all, true, false, ""},
		{"A stream that ends early ends cleanly", Behaviour{EndEarlyAfter: 2}, Broken, 2, false, false, ""},
		{"A stream that ends early beyond its events has no end", Behaviour{EndEarlyAfter: 99}, Broken, all, false, false, ""},
		{"An empty stream has no event", Behaviour{EmptyStream: true}, Broken, 0, false, false, ""},
		{"HTML is a page", Behaviour{HTML: true}, Broken, 0, false, false, "<!DOCTYPE html>"},
		{"A body override replaces the stream", Behaviour{Body: "x\r\n\r"}, Completed, 0, false, false, "x\r\n\r"},
	}
	for _, tt := range tests {
		for _, api := range generating {
			t.Run(tt.sentence+" at "+api.path, func(t *testing.T) {
				r := newRig(t, Config{KeepBodies: true}, map[string]Behaviour{goodKey: tt.b})
				got := r.do("POST", api.path, goodKey, askAny(true))
				says, events := tt.says, tt.events
				switch says {
				case "first":
					says = api.firstError
				case "late":
					says = api.lateError
				case "comments":
					says = ""
					if api.contentType == "text/event-stream" {
						says = comment + comment
					}
				}
				if events >= all {
					events += api.events - all
				}
				if got.status != 200 || got.cut != tt.cut || !strings.Contains(got.body, says) {
					t.Errorf("%d, cut %v: %s\nwant %s", got.status, got.cut, got.body, says)
				}
				if api.contentType != "text/event-stream" && strings.Contains(got.body, "PROCESSING") {
					t.Errorf("a comment where there are none: %s", got.body)
				}
				if strings.Contains(got.body, api.end) != tt.ends {
					t.Errorf("ends %v: %s", !tt.ends, got.body)
				}
				if ct := got.header.Get("Content-Type"); ct != api.contentType && !tt.b.HTML {
					t.Errorf("Content-Type %q", ct)
				}
				e := r.last()
				if e.Outcome != tt.outcome || e.Events != events || e.Path != api.path || !e.Stream || e.RequestID != "r1" || e.Model != DefaultModel {
					t.Errorf("the ledger says %+v", e)
				}
				if string(e.Body) != askAny(true) || string(e.Answer) != got.body {
					t.Errorf("the ledger kept %q and %q", e.Body, e.Answer)
				}
				if want := (tt.outcome == Completed); want != (e.PromptTokens == 2 && e.CompletionTokens == 3) {
					t.Errorf("usage %d and %d", e.PromptTokens, e.CompletionTokens)
				}
			})
		}
	}
}

func TestEveryAPIAnswersWholeAndMisbehaves(t *testing.T) {
	tests := []struct {
		sentence string
		b        Behaviour
		status   int
		cut      bool
		outcome  string
		contains string
	}{
		{"A good key is served", Behaviour{}, 200, false, Completed, `"`},
		{"A refusal tells when to come back", Behaviour{Status: 429, RetryAfter: "7"}, 429, false, Refused, `rate limit exceeded`},
		{"An error inside is a member", Behaviour{FirstEventError: true}, 200, false, Broken, `"error":`},
		{"An answer that ends early ends cleanly", Behaviour{EndEarlyAfter: 1}, 200, false, Broken, `{"`},
		{"A truncated answer is cut", Behaviour{TruncateAfter: 1}, 200, true, Cut, `{"`},
		{"An empty answer has no body", Behaviour{EmptyStream: true}, 200, false, Broken, ""},
		{"HTML is a page", Behaviour{HTML: true}, 200, false, Broken, "<!DOCTYPE html>"},
		{"A reset cuts before the headers", Behaviour{Reset: true}, 0, true, Cut, ""},
		{"A forbidden model is refused", Behaviour{ForbidModels: []string{DefaultModel}}, 403, false, Refused, "no access to model"},
		{"A script plays", Behaviour{Script: []Behaviour{{Status: 503}, {}}}, 503, false, Refused, `"error":`},
	}
	for _, tt := range tests {
		for path := range modelPaths {
			t.Run(tt.sentence+" at "+path, func(t *testing.T) {
				r := newRig(t, Config{KeepBodies: true}, map[string]Behaviour{goodKey: tt.b})
				got := r.do("POST", path, goodKey, askAny(false))
				if got.status != tt.status || got.cut != tt.cut || !strings.Contains(got.body, tt.contains) {
					t.Errorf("%d, cut %v: %s", got.status, got.cut, got.body)
				}
				if got.header.Get("Retry-After") != tt.b.RetryAfter {
					t.Errorf("Retry-After %q", got.header.Get("Retry-After"))
				}
				e := r.last()
				if e.Outcome != tt.outcome || e.Status != tt.status || e.Stream || e.RequestID != "r1" || string(e.Answer) != got.body {
					t.Errorf("the ledger says %+v", e)
				}
			})
		}
	}
}

func TestLimitsCountEveryAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newPipeRig(t, Config{})
		defer stop()
		paid := 0
		for path, a := range modelPaths {
			if a.asks == asksPermit {
				paid++
			}
			if err := r.up.SetKey(goodKey, Behaviour{Limits: Limits{RequestsPerMinute: max(paid, 1)}}); err != nil {
				t.Fatal(err)
			}
			if got := r.do("POST", path, goodKey, askAny(true)).status; got != 200 {
				t.Errorf("%s: %d", path, got)
			}
		}
		for path, a := range modelPaths {
			want := 429
			if a.asks == asksKey {
				want = 200
			}
			if got := r.do("POST", path, goodKey, askAny(false)).status; got != want {
				t.Errorf("%s over the limit: %d, want %d", path, got, want)
			}
		}
		if got := PerKey(r.up.Ledger())[goodKey]; got.OK != paid || got.Refused != paid || paid != len(modelPaths)-1 {
			t.Errorf("%d paths, counted %+v", paid, got)
		}
		if v := OverRate(served(r.up.Ledger()), goodKey, paid-1); len(v) != 1 {
			t.Errorf("one was more than %d, the judge found %v", paid-1, v)
		}
	})
}

func TestEveryAPILeavesWhoWaitsAlone(t *testing.T) {
	for path := range modelPaths {
		for _, b := range []Behaviour{{Hang: true}, {Delay: time.Hour}} {
			synctest.Test(t, func(t *testing.T) {
				r, stop := newPipeRig(t, Config{})
				defer stop()
				if err := r.up.SetKey(goodKey, b); err != nil {
					t.Fatal(err)
				}
				r.client.Transport = impatient{r.client.Transport}
				if got := r.do("POST", path, goodKey, askAny(false)); !got.cut {
					t.Errorf("%s answered %+v", path, got)
				}
				synctest.Wait()
				if e := r.last(); e.Outcome != Canceled || e.End.Sub(e.Start) != time.Minute {
					t.Errorf("%s: %s after %v", path, e.Outcome, e.End.Sub(e.Start))
				}
			})
		}
	}
}
