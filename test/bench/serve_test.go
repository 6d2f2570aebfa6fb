package main

import (
	"context"
	"testing"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

// served runs one of this program's servers, in this process, until the test ends.
func served(t *testing.T, name string, more ...string) string {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, append([]string{name, addr}, more...)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	p := &process{name: name, done: make(chan struct{})}
	if err := p.listening(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	return addr
}

// TestTheBareProxiesPassEverythingOn has every sort of load go through each proxy that a pool is compared with.
func TestTheBareProxiesPassEverythingOn(t *testing.T) {
	t.Setenv(keyVariable, newKey("fixed"))
	up := served(t, pretended)
	for _, to := range []load.Target{
		{Addr: up, Credential: newKey("own")},
		{Addr: served(t, hand, up), Credential: "client"},
		{Addr: served(t, reverse, up), Credential: "client"},
	} {
		c, err := load.Dial(t.Context(), to, 8, false)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		whole := load.NewAsk(to, upstream.Whole())
		if r, err := c.Saturate(t.Context(), whole, 50*time.Millisecond); err != nil || r.Requests < 8 || len(r.Latencies) != r.Requests {
			t.Errorf("a closed loop: %d requests, %v", r.Requests, err)
		}
		if r, err := c.Pace(t.Context(), whole, 500, 100*time.Millisecond); err != nil || r.Requests != 50 || len(r.Latencies) != 50 {
			t.Errorf("an open loop: %d requests of 50, %v", r.Requests, err)
		}
		steps := load.NewAsk(to, upstream.Steps(10, 2*time.Millisecond))
		if r, err := c.Repeat(t.Context(), steps, 2, 10*time.Millisecond); err != nil || r.Requests != 16 || r.Events != 16*11 {
			t.Errorf("%+v: streams: %d of 16 with %d events, %v", to, r.Requests, r.Events, err)
		}
		if r, err := c.Repeat(t.Context(), load.NewAsk(to, upstream.Idle()), 1, 0); err != nil || r.Requests != 8 {
			t.Errorf("%+v: idle streams: %d of 8, %v", to, r.Requests, err)
		}
	}
}

func TestAServerThatIsNoneIsRefused(t *testing.T) {
	for _, args := range [][]string{nil, {hand}, {hand, "127.0.0.1:0"}, {"another", "127.0.0.1:0", "127.0.0.1:1"}} {
		if serve(t.Context(), args) == nil {
			t.Errorf("%q was served", args)
		}
	}
}
