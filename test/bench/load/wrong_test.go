package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

// answering is a proxy that answers as told, whatever it is asked.
func answering(t *testing.T, h http.HandlerFunc) load.Target {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return load.Target{Addr: s.Listener.Addr().String(), Credential: "client"}
}

func sends(status int, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// chunked sends a body without a length, and then cuts the connection if told to.
func chunked(body []byte, cut bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write(body)
		if cut {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

// TestAWrongAnswerEndsTheRun has each sort of load meet each sort of wrong answer.
func TestAWrongAnswerEndsTheRun(t *testing.T) {
	whole, steps := upstream.Whole(), upstream.Steps(3, time.Millisecond)
	changed := bytes.Replace(whole.Answer, []byte("because"), []byte("becauze"), 1)
	noDone := bytes.TrimSuffix(steps.Answer, []byte("data: [DONE]\n\n"))
	for _, tt := range []struct {
		sentence string
		question upstream.Question
		proxy    http.HandlerFunc
		want     string // in the error; empty: it is right
	}{
		{"The right answer is right", whole, sends(200, whole.Answer), ""},
		{"The right answer in chunks is right too", whole, chunked(whole.Answer, false), ""},
		{"The right stream is right", steps, chunked(steps.Answer, false), ""},
		{"Another status is wrong, and said", whole, sends(429, []byte("slow down")), "429 Too Many Requests: slow down"},
		{"The right body with another status is wrong", whole, sends(201, whole.Answer), "201"},
		{"An answer that is too short is wrong", whole, sends(200, whole.Answer[:1023]), "1023 bytes of an answer of 1024"},
		{"An answer that is too long is wrong", whole, sends(200, append(bytes.Clone(whole.Answer), '\n')), "another answer"},
		{"One changed byte is wrong", whole, sends(200, changed), "another answer"},
		{"Nothing is wrong", whole, sends(200, nil), "0 bytes"},
		{"A stream without its end is wrong", steps, chunked(noDone, false), "of an answer of"},
		{"A stream that is cut at its end is wrong", steps, chunked(steps.Answer, true), "unexpected EOF"},
		{"Another stream is wrong", steps, chunked(upstream.Steps(4, 0).Answer, false), "another answer"},
		{"A cut connection is no answer", whole, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "no answer"},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			to := answering(t, tt.proxy)
			ask := load.NewAsk(to, tt.question)
			for name, run := range map[string]func(*load.Crowd) (load.Result, error){
				"closed": func(c *load.Crowd) (load.Result, error) { return c.Saturate(t.Context(), ask, 10*time.Millisecond) },
				"paced":  func(c *load.Crowd) (load.Result, error) { return c.Pace(t.Context(), ask, 1000, 10*time.Millisecond) },
				"repeat": func(c *load.Crowd) (load.Result, error) { return c.Repeat(t.Context(), ask, 2, time.Millisecond) },
			} {
				c, err := load.Dial(t.Context(), to, 2, false)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				r, err := run(c)
				switch {
				case tt.want == "" && (err != nil || r.Requests == 0):
					t.Errorf("%s: %d good answers, %v", name, r.Requests, err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("%s: got %v, want %q", name, err, tt.want)
				}
			}
		})
	}
}

// TestTheUpstreamKnowsItsKeys: a proxy that passes the client's credential on, or asks for what there is not, is found out.
func TestTheUpstreamKnowsItsKeys(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- upstream.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	good := load.Target{Addr: l.Addr().String(), Credential: upstream.Key + "1"}
	stranger := load.Target{Addr: l.Addr().String(), Credential: "client"}
	other := upstream.Whole()
	other.Body = bytes.Replace(other.Body, []byte(`"whole"`), []byte(`"other"`), 1)
	for _, tt := range []struct {
		sentence string
		to       load.Target
		question upstream.Question
		want     string
	}{
		{"Its own key is answered", good, upstream.Whole(), ""},
		{"A client's credential is not", stranger, upstream.Whole(), "401"},
		{"Nor is another model", good, other, "404"},
	} {
		c, err := load.Dial(t.Context(), tt.to, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Repeat(t.Context(), load.NewAsk(tt.to, tt.question), 1, 0); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.sentence, err)
		}
	}
}

// TestATimeCountsFromWhenItWasToBegin: a proxy that stops for a while has all that should have begun meanwhile wait, not only
// the one request that it was sent.
func TestATimeCountsFromWhenItWasToBegin(t *testing.T) {
	const stop, every, rate = 150 * time.Millisecond, 10 * time.Millisecond, 100
	whole := upstream.Whole()
	var stopped atomic.Bool
	to := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if stopped.CompareAndSwap(false, true) {
			select {
			case <-time.After(stop):
			case <-r.Context().Done():
			}
		}
		sends(200, whole.Answer)(w, r)
	})
	c, err := load.Dial(t.Context(), to, 1, false) // so the others cannot even be sent
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := c.Pace(t.Context(), load.NewAsk(to, whole), rate, 2*stop)
	if err != nil {
		t.Fatal(err)
	}
	if want := int(2 * stop / every); r.Requests != want {
		t.Fatalf("%d requests, want %d: those that were late have to follow", r.Requests, want)
	}
	for i, took := range r.Latencies {
		if least := stop - time.Duration(i)*every; took < least {
			t.Errorf("request %d was answered %v after it was to begin, which cannot be: at least %v", i, took, least)
		}
		if took < 0 || r.FirstBytes[i] > took {
			t.Errorf("request %d: first byte after %v, end after %v", i, r.FirstBytes[i], took)
		}
	}
}

// TestALoadEndsWhenTold: nobody answers, and Ctrl-C comes.
func TestALoadEndsWhenTold(t *testing.T) {
	to := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ask := load.NewAsk(to, upstream.Whole())
	for name, run := range map[string]func(context.Context, *load.Crowd) (load.Result, error){
		"closed": func(ctx context.Context, c *load.Crowd) (load.Result, error) { return c.Saturate(ctx, ask, time.Hour) },
		"paced":  func(ctx context.Context, c *load.Crowd) (load.Result, error) { return c.Pace(ctx, ask, 100, time.Hour) },
		"repeat": func(ctx context.Context, c *load.Crowd) (load.Result, error) { return c.Repeat(ctx, ask, 1, time.Hour) },
	} {
		c, err := load.Dial(t.Context(), to, 3, false)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := run(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if c, err := load.Dial(t.Context(), load.Target{Addr: l.Addr().String()}, 2, false); err == nil {
		c.Close()
		t.Error("connections to nobody")
	}
}
