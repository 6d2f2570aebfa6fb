package system

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"ollama-api-pool/test/fakellm"
)

// wantCanceled waits until the upstream has noticed.
func (g openAIGo) wantCanceled(t *testing.T, scene string) {
	t.Helper()
	e := g.wait(t, scene, func(e fakellm.Entry) bool { return e.Outcome != "" })
	wantText(t, e.Outcome, nil, fakellm.Canceled)
}

// wait waits until this is true of the latest entry of a scene.
func (g openAIGo) wait(t *testing.T, scene string, is func(fakellm.Entry) bool) fakellm.Entry {
	t.Helper()
	for range 200 {
		if entries := g.entries(g.c.name + "/" + scene); len(entries) > 0 && is(entries[len(entries)-1]) {
			return entries[len(entries)-1]
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("waited in vain for the upstream: %s", scene)
	return fakellm.Entry{}
}

func (g openAIGo) leaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	failed := make(chan error, 1)
	go func() {
		_, err := g.chat(ctx, "eu-1", "silent")
		failed <- err
	}()
	g.wait(t, "silent", func(e fakellm.Entry) bool { return e.Outcome == "" })
	leave()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the library says %v", err)
	}
	g.wantCanceled(t, "silent")
}

func (g openAIGo) leavesStream(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	text, err := joined(g.at("us-1").Chat.Completions.NewStreaming(ctx, g.say("slow", "hello")), func(c openai.ChatCompletionChunk) string {
		if deltaOf(c) != "" {
			leave()
		}
		return deltaOf(c)
	})
	if !errors.Is(err, context.Canceled) || text == fakellm.Answer("hello") {
		t.Errorf("the library says %v after %q", err, text)
	}
	g.wantCanceled(t, "slow")
}

func (g openAIGo) errors(t *testing.T) {
	for _, tt := range []struct {
		scene  string
		more   []option.RequestOption
		status int
		code   string
	}{
		{"good", []option.RequestOption{option.WithAPIKey("sk-pool-nonsense")}, 401, "invalid_api_key"},
		{gone, nil, 404, "model_not_found"},
		{"good", []option.RequestOption{option.WithJSONSet("model", "no/such")}, 404, "model_not_found"},
		{"refused", nil, 400, ""},
		{"limited", nil, 429, "rate_limit_exceeded"},
	} {
		for _, node := range []string{"eu-1", "us-1"} {
			_, err := g.chat(t.Context(), node, tt.scene, tt.more...)
			e := apiError(t, err)
			if e.StatusCode != tt.status || tt.code != "" && e.Code != tt.code || e.Message == "" {
				t.Errorf("%s: %d %q %q, want %d %q", tt.scene, e.StatusCode, e.Code, e.Message, tt.status, tt.code)
			}
		}
	}
}

// apiError is what the library makes of an answer that tells an error; empty: it is no such error.
func apiError(t *testing.T, err error) openai.Error {
	t.Helper()
	var e *openai.Error
	if !errors.As(err, &e) {
		t.Errorf("the library says %v", err)
		return openai.Error{}
	}
	return *e
}

func (g openAIGo) dead(t *testing.T) {
	calls := 0
	counted := option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
		calls++
		return next(r)
	})
	_, err := g.chat(t.Context(), "eu-1", "dead", option.WithMaxRetries(2), counted)
	if e := apiError(t, err); e.StatusCode != 503 || e.Code != "upstream_credentials_exhausted" || calls != 1 {
		t.Errorf("%d %s after %d calls", e.StatusCode, e.Code, calls)
	}
}

func (g openAIGo) broken(t *testing.T) {
	for _, scene := range []string{"cut", "early"} {
		_, err := g.chat(t.Context(), "eu-1", scene)
		if e := apiError(t, err); e.StatusCode != 502 {
			t.Errorf("%s: %d %s", scene, e.StatusCode, e.Code)
		}
		if text, err := g.stream(t.Context(), "us-1", scene); err == nil {
			t.Errorf("%s: %q passed for success", scene, text)
		}
	}
	text, err := g.stream(t.Context(), "eu-1", "breaks")
	if err == nil || !strings.Contains(err.Error(), "rate limit exceeded") {
		t.Errorf("a stream that broke after %q: %v", text, err)
	}
}

func (g openAIGo) failover(t *testing.T) {
	text, err := g.chat(t.Context(), "eu-1", "failover")
	wantText(t, text, err, fakellm.Answer("hello"))
	text, err = g.stream(t.Context(), "us-1", "stumbles")
	wantText(t, text, err, fakellm.Answer("hello"))
	var outcomes []string
	for _, scene := range []string{"failover", "stumbles"} {
		for _, e := range g.entries(g.c.name + "/" + scene) {
			outcomes = append(outcomes, e.Outcome)
		}
	}
	if want := []string{fakellm.Refused, fakellm.Completed, fakellm.Broken, fakellm.Completed}; !slices.Equal(outcomes, want) {
		t.Errorf("the upstream saw %q, want %q", outcomes, want)
	}
}
