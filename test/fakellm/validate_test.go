package fakellm

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestImpossibleBehavioursNameTheField(t *testing.T) {
	header := func(name, value string) Behaviour {
		return Behaviour{Header: map[string]string{name: value}}
	}
	tests := []struct {
		b    Behaviour
		want string
	}{
		{Behaviour{Status: 99}, "status"},
		{Behaviour{Status: 204}, "status"},
		{Behaviour{Status: 600}, "status"},
		{Behaviour{RetryAfter: "1"}, "retry_after"},
		{Behaviour{Status: 429, RetryAfter: "1\r\nX: y"}, "retry_after"},
		{Behaviour{ResetIn: time.Second}, "reset_in"},
		{Behaviour{Status: 429, ResetIn: -1}, "reset_in"},
		{Behaviour{Hang: true, Body: "x"}, "body"},
		{Behaviour{TruncateAfter: 1, Body: "x"}, "body"},
		{Behaviour{Delay: -1}, "delay"},
		{Behaviour{ErrorAfter: -1}, "error_after"},
		{Behaviour{ErrorCode: 429}, "error_code"},
		{Behaviour{FirstEventError: true, ErrorCode: 200}, "error_code"},
		{Behaviour{TruncateAfter: maxChunks + 1}, "truncate_after"},
		{Behaviour{EndEarlyAfter: -1}, "end_early_after"},
		{Behaviour{Comments: -1}, "comments"},
		{Behaviour{Status: 500, Comments: 1}, "comments"},
		{Behaviour{Chunks: -1}, "chunks"},
		{Behaviour{HTML: true, Chunks: 1}, "chunks"},
		{Behaviour{Body: "x", Chunks: 1}, "chunks"},
		{Behaviour{ChunkInterval: -1}, "chunk_interval"},
		{Behaviour{Times: -1}, "times"},
		{Behaviour{CoolUntilRetryAfter: true}, "cool_until_retry_after"},
		{Behaviour{Status: 429, CoolUntilRetryAfter: true}, "cool_until_retry_after"},
		{Behaviour{Status: 429, CoolUntilRetryAfter: true, RetryAfter: "soon"}, "cool_until_retry_after"},
		{Behaviour{Status: 429, CoolUntilRetryAfter: true, RetryAfter: "NaN"}, "cool_until_retry_after"},
		{Behaviour{Status: 429, CoolUntilRetryAfter: true, RetryAfter: "1e300"}, "cool_until_retry_after"},
		{Behaviour{Status: 429, CoolUntilRetryAfter: true, RetryAfter: "1", Times: 1}, "cool_until_retry_after"},
		{Behaviour{Limits: Limits{RequestsPerMinute: -1}}, "limits.requests_per_minute"},
		{Behaviour{Limits: Limits{MaxConcurrent: -1}}, "limits.max_concurrent"},
		{Behaviour{Script: []Behaviour{{}}, Status: 500}, "script"},
		{Behaviour{Script: []Behaviour{{}, {Status: 1}}}, "script[1].status"},
		{Behaviour{Script: []Behaviour{{Times: 1}}}, "script[0].times"},
		{Behaviour{Script: []Behaviour{{Script: []Behaviour{{}}}}}, "script[0].script"},
		{Behaviour{Script: []Behaviour{{Limits: Limits{MaxConcurrent: 1}}}}, "script[0].limits"},
		{Behaviour{Hang: true, Reset: true}, "hang and reset"},
		{Behaviour{Status: 500, HTML: true}, "status and html"},
		{header("Bad Name", ""), "headers"},
		{header("", ""), "headers"},
		{header("X-A", "b\nc"), "headers"},
		{header("content-length", "3"), "headers"},
	}
	for _, tt := range tests {
		err := tt.b.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tt.want+": ") {
			t.Errorf("%+v: %v, want an error about %s", tt.b, err, tt.want)
		}
		up := New(Config{})
		if err := up.SetKeys(map[string]Behaviour{"sk-secret-abcd": tt.b, "other": {}}); err == nil || strings.Contains(err.Error(), "sk-secret") {
			t.Errorf("SetKeys must fail without showing the key: %v", err)
		}
		if len(up.keys) != 0 {
			t.Error("a failed SetKeys must set nothing")
		}
	}
}

func TestImpossibleKeysAndConfigs(t *testing.T) {
	for _, secret := range []string{"", "a b", "a\n", "schlüssel"} {
		if err := New(Config{}).SetKey(secret, Behaviour{}); err == nil {
			t.Errorf("key %q must be refused", secret)
		}
	}
	for _, cfg := range []Config{{Dialect: "klingon"}, {Models: []string{""}}} {
		if cfg.Validate() == nil {
			t.Errorf("%+v must be refused", cfg)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("New(%+v) must panic", cfg)
				}
			}()
			New(cfg)
		}()
	}
}

func TestBehaviourJSON(t *testing.T) {
	full := Behaviour{
		Script: []Behaviour{
			{Status: 429, RetryAfter: "1", ResetIn: time.Minute, Delay: 250 * time.Millisecond, Header: map[string]string{"A": "b"}},
			{Comments: 1, Chunks: 2, ChunkInterval: time.Second, ForbidModels: []string{"m"}},
			{FirstEventError: true, ErrorCode: 429, Body: "{}"},
			{ErrorAfter: 1},
			{TruncateAfter: 1},
			{EndEarlyAfter: 1},
			{Hang: true},
			{Reset: true},
			{HTML: true},
			{EmptyStream: true},
		},
		Limits: Limits{RequestsPerMinute: 1, MaxConcurrent: 2},
	}
	if err := full.Validate(); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var back Behaviour
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(full, back) {
		t.Errorf("%s came back as %+v", data, back)
	}
	if empty, _ := json.Marshal(Behaviour{}); string(empty) != "{}" {
		t.Errorf("the zero behaviour is %s", empty)
	}
	for text, want := range map[string]string{
		`{"statuss":500}`:             "statuss",
		`{"script":[{"hangs":true}]}`: "hangs",
		`{"delay":5}`:                 "delay",
		`{"delay":"soon"}`:            "delay",
		`{"limits":{"rpm":1}}`:        "rpm",
	} {
		var b Behaviour
		if err := json.Unmarshal([]byte(text), &b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", text, err, want)
		}
	}
}
