package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"ollama-api-pool/test/fakellm"
)

func TestAVerdictIsAboutWhatWasPromised(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		seen     tally
		want     string
	}{
		{"Failover and nothing else is what it is for", tally{requests: 9, failovers: 2}, ""},
		{"A stream that was cut cannot be made good", tally{requests: 9, failovers: 2, cut: 3}, ""},
		{"Without a failover nothing was shown", tally{requests: 9}, "no failover was seen"},
		{"Any other error is one too many", tally{requests: 9, failovers: 2, cut: 3, failed: 1}, "clients saw 1 error that nothing explains"},
	} {
		got := ""
		if err := tt.seen.verdict(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.sentence, got, tt.want)
		}
	}
}

func TestWhatAClientGotIsCountedAndTold(t *testing.T) {
	keys := script()
	secret := func(label string) string {
		for _, k := range keys {
			if strings.HasPrefix(k.label, label) {
				return k.secret
			}
		}
		t.Fatalf("there is no key %q", label)
		return ""
	}
	refused := fakellm.Entry{Key: secret("rejected"), Status: 401, Outcome: fakellm.Refused}
	page := fakellm.Entry{Key: secret("HTML"), Status: 200, Outcome: fakellm.Broken}
	answered := fakellm.Entry{Key: secret("good"), Status: 200, Outcome: fakellm.Completed, Events: 5}
	cut := fakellm.Entry{Key: secret(cutting), Status: 200, Outcome: fakellm.Cut, Events: 2}
	cutWhole := fakellm.Entry{Key: secret(cutting), Status: 200, Outcome: fakellm.Cut}
	for _, tt := range []struct {
		sentence string
		got      outcome
		tries    []fakellm.Entry
		want     tally
		told     string
	}{
		{"Nothing special is not worth a line", outcome{status: 200, attempts: 1}, []fakellm.Entry{answered}, tally{requests: 1}, ""},
		{
			"Another key is a failover",
			outcome{status: 200, attempts: 3},
			[]fakellm.Entry{refused, page, answered},
			tally{requests: 1, failovers: 1},
			"one request, 3 keys: 401 rejected → web page → answered; the client saw a 200",
		},
		{
			"A cut after the first event is explained",
			outcome{status: 200, attempts: 1, err: errCut},
			[]fakellm.Entry{cut},
			tally{requests: 1, cut: 1},
			"the stream was cut",
		},
		{
			"A cut before it is not: another key should have answered",
			outcome{status: 502, attempts: 1, err: errCut},
			[]fakellm.Entry{cutWhole},
			tally{requests: 1, failed: 1},
			"a client saw an error",
		},
		{
			"Nor is an early end that the upstream knows nothing of",
			outcome{status: 200, attempts: 1, err: errCut},
			[]fakellm.Entry{answered},
			tally{requests: 1, failed: 1},
			"a client saw an error",
		},
		{"Nor is no answer at all", outcome{err: errors.New("refused")}, nil, tally{requests: 1, failed: 1}, "a client saw an error"},
	} {
		var out strings.Builder
		traffic := newTraffic("", nil, nil, &voice{out: &out}, keys)
		traffic.tell(plane{region: "eu-west"}, tt.got, tt.tries)
		if traffic.tally() != tt.want {
			t.Errorf("%s: counted %+v, want %+v", tt.sentence, traffic.tally(), tt.want)
		}
		if tt.told == "" && out.Len() > 0 || !strings.Contains(out.String(), tt.told) {
			t.Errorf("%s: told %q, want %q", tt.sentence, out.String(), tt.told)
		}
	}
}

func TestTheSameFailoverIsToldNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		traffic := newTraffic("", nil, nil, nil, nil)
		told := 0
		for range 300 { // half a minute
			if traffic.worthALine("500 → answered") {
				told++
			}
			time.Sleep(100 * time.Millisecond)
		}
		if told != 3 {
			t.Errorf("told %d times in half a minute", told)
		}
		if !traffic.worthALine("503 → answered") {
			t.Error("what is new has to wait")
		}
	})
}

func TestLinesFitTheTerminal(t *testing.T) {
	var out strings.Builder
	v := &voice{out: &out}
	v.line("failover", "%s", strings.Repeat("401 rejected → ", 20)+"answered")
	for line := range strings.Lines(out.String()) {
		if utf8.RuneCountInString(line) > width+1 {
			t.Errorf("too wide: %s", line)
		}
	}
	if strings.Count(out.String(), "401") != 20 || !strings.HasSuffix(out.String(), "answered\n") {
		t.Errorf("words are lost: %s", out.String())
	}
}

func TestWhatAKeyBecomesIsToldInWords(t *testing.T) {
	now := time.Date(2026, 5, 4, 14, 2, 11, 0, time.Local)
	for _, tt := range []struct {
		was, is keyState
		want    string
	}{
		{
			keyState{Status: "active"},
			keyState{Status: "cooling", Reason: "rate_limited", Until: now.Add(15 * time.Second)},
			"is cooling (rate_limited) until 14:02:26",
		},
		{
			keyState{Status: "suspect"},
			keyState{Status: "auto_disabled", Reason: "auth_rejected", Until: now.Add(24 * time.Hour)},
			"is now auto_disabled (auth_rejected) until 5 May 14:02, then a probe",
		},
		{keyState{Status: "cooling"}, keyState{Status: "active"}, "is back: its time is over"},
		{keyState{Status: "auto_disabled"}, keyState{Status: "active"}, "is back: a probe was answered well"},
		{keyState{Status: "active"}, keyState{Status: "disabled"}, "was disabled by an operator"},
		{keyState{Status: "disabled"}, keyState{Status: "active"}, "is back"},
	} {
		if got := became(tt.was, tt.is, now); got != tt.want {
			t.Errorf("%s to %s: %q, want %q", tt.was.Status, tt.is.Status, got, tt.want)
		}
	}
}

func TestEveryKeyOfTheScriptIsPossible(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range script() {
		if err := k.behaves.Validate(); err != nil {
			t.Errorf("%s: %v", k.label, err)
		}
		if seen[k.label] {
			t.Errorf("two keys are called %s", k.label)
		}
		seen[k.label] = true
	}
}
