package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

func TestTokenLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := newBubbleBench(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, 200, strings.Replace(goodWhole, "{", `{"usage":{"prompt_tokens":10,"completion_tokens":20},`, 1))
		})
		defer stop()
		b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Requests: 2, capacity.Tokens: 1000}})
		first := b.chat(askWhole)
		for name, want := range map[string]string{
			"X-Ratelimit-Limit-Requests": "2", "X-Ratelimit-Remaining-Requests": "1", "X-Ratelimit-Reset-Requests": "1m1s",
			"X-Ratelimit-Limit-Tokens": "1000", "X-Ratelimit-Remaining-Tokens": "993", "X-Ratelimit-Reset-Tokens": "1m1s",
		} {
			if got := first.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if a := b.chat(askWhole); a.status != 200 || a.header.Get("X-Ratelimit-Remaining-Tokens") != "963" {
			t.Errorf("the second: %d, %v", a.status, a.header)
		}
		a := b.chat(askWhole)
		if a.status != 429 || a.code() != "rate_limit_exceeded" || a.header.Get("Retry-After") != "60" {
			t.Errorf("the third: %d %s, Retry-After %s", a.status, a.body, a.header.Get("Retry-After"))
		}
		if a := b.do(b.request("GET", "/v1/models", "")); a.status == 429 {
			t.Error("a list that is kept counts as a request")
		}
		if ends := b.book.ends(); ends[2] != leases.EndClientError {
			t.Errorf("it ended as %v", ends[2])
		}
	})
}

func TestARequestThatNobodyWasAskedForCostsNothing(t *testing.T) {
	b := newBench(t, 0, nil)
	b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Requests: 2}})
	for range 4 {
		if a := b.chat(askWhole); a.status != 503 || a.header.Get("X-Ratelimit-Remaining-Requests") != "1" {
			t.Fatalf("%d, %s left", a.status, a.header.Get("X-Ratelimit-Remaining-Requests"))
		}
		if a := b.chat(`{`); a.status != 400 {
			t.Fatal(a.status)
		}
	}
}

func TestRequestsAtTheSameTime(t *testing.T) {
	var under atomic.Int32
	entered, leave := make(chan struct{}), make(chan struct{})
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		under.Add(1)
		entered <- struct{}{}
		<-leave
		sendJSON(w, 200, goodWhole)
	})
	b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Concurrency: 2}})
	done := make(chan answer)
	for range 2 {
		go func() { done <- b.chat(askWhole) }()
		<-entered
	}
	if a := b.chat(askWhole); a.status != 429 || a.header.Get("Retry-After") != "1" || under.Load() != 2 {
		t.Errorf("a third: %d, Retry-After %s, %d at the upstream", a.status, a.header.Get("Retry-After"), under.Load())
	}
	close(leave)
	for range 2 {
		if a := <-done; a.status != 200 {
			t.Errorf("one of two: %d", a.status)
		}
	}
	go func() { <-entered }()
	if a := b.chat(askWhole); a.status != 200 {
		t.Errorf("after them: %d", a.status)
	}
}

// The next request may come as soon as the client has seen the end, however long the upstream still holds its connection.
func TestAStreamThatIsDoneLeavesItsPlace(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		sendStream(w, goodStream)
		pause(r, time.Second)
	}, func(t *testing.T, b *bench) {
		b.limit(capacity.Limits{Most: capacity.Amounts{capacity.Concurrency: 1, capacity.Tokens: 1000}})
		resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", askStream))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, len(goodStream))); err != nil {
			t.Fatal(err)
		}
		if a := b.chat(askStream); a.status != 200 || a.header.Get("X-Ratelimit-Remaining-Tokens") != "964" {
			t.Errorf("the next: %d %s, %v", a.status, a.body, a.header)
		}
		time.Sleep(2 * time.Second) // until the upstream has let go of both
	})
}

func TestUsageIsCounted(t *testing.T) {
	content := strings.Repeat("x", 400)
	whole := strings.Replace(goodWhole, "hi", content, 1)
	for _, row := range []struct {
		why, path, ask, media string
		events                []string
		want                  provider.Usage
	}{
		{
			"a chat", "/v1/chat/completions", askWhole, "application/json",
			[]string{`{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}`},
			provider.Usage{Input: 3, Output: 4},
		},
		{
			"a chat whose upstream does not say", "/v1/chat/completions", askWhole, "application/json",
			[]string{whole},
			provider.Usage{Input: 7, Output: estimateTokens(int64(len(whole))), Estimated: true},
		},
		{
			"a stream whose upstream does not say", "/v1/chat/completions", askStream, "text/event-stream",
			[]string{": comment\n\n", goodStream},
			provider.Usage{Input: 11, Output: 4, Estimated: true},
		},
		{
			"a stream of Anthropic's", "/v1/messages", askStream, "text/event-stream",
			[]string{
				"event: message_start\n" + event(`{"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1}}}`),
				"event: message_delta\n" + event(`{"type":"message_delta","delta":{},"usage":{"output_tokens":15}}`),
				"event: message_stop\n" + event(`{"type":"message_stop"}`),
			},
			provider.Usage{Input: 25, Output: 15},
		},
		{
			"a stream of Ollama's", "/api/chat", `{"model":"m"}`, "application/x-ndjson",
			[]string{`{"message":{"content":"a"},"done":false}` + "\n", `{"done":true,"prompt_eval_count":26,"eval_count":298}` + "\n"},
			provider.Usage{Input: 26, Output: 298},
		},
		{
			"a response", "/v1/responses", askStream, "text/event-stream",
			[]string{
				event(`{"type":"response.created","response":{"usage":null}}`),
				event(`{"type":"response.completed","response":{"usage":{"input_tokens":36,"output_tokens":87}}}`),
			},
			provider.Usage{Input: 36, Output: 87},
		},
		{
			"embeddings, which nothing comes out of", "/v1/embeddings", askWhole, "application/json",
			[]string{`{"data":[{"embedding":[1,2,3]}]}`},
			provider.Usage{Input: 7, Estimated: true},
		},
		{"what takes no tokens", "/api/show", `{"model":"m"}`, "application/json", []string{`{"license":"x"}`}, provider.Usage{}},
		{"an answer of refusal", "/v1/chat/completions", askWhole, "application/json", []string{`{"error":{"message":"no","code":400}}`}, provider.Usage{}},
	} {
		b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendEvents(w, row.media, row.events...) })
		b.do(b.request("POST", row.path, row.ask))
		if got := b.book.served[0].Usage; got != row.want {
			t.Errorf("%s: the request took %+v, want %+v", row.why, got, row.want)
		}
		if got := b.book.settled[0].Usage; got != row.want {
			t.Errorf("%s: the attempt took %+v, want %+v", row.why, got, row.want)
		}
	}
}
