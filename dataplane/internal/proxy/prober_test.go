package proxy

import (
	"net/http"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// One provider is silent, and many of its keys are asked about. A key of another one is asked about at once all the same.
func TestASilentProviderKeepsNoOthersProbesWaiting(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/key" {
			forever(r)
			return
		}
		sendJSON(w, 200, `{"data":{}}`)
	}, func(t *testing.T, b *bench) {
		f := &fakeProbes{ask: make(chan leases.Probe, 17)}
		for range 16 {
			f.ask <- leases.Probe{Provider: b.book.providers["ollama"], TTL: time.Minute}
		}
		f.ask <- leases.Probe{Provider: b.book.providers["openrouter"], TTL: time.Minute}
		close(f.ask)
		good := func() (n int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, v := range f.said {
				if v.Class == provider.OK {
					n++
				}
			}
			return n
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(time.Second)
			if good() != 1 {
				t.Error("the key of the provider that answers waits for those of the silent one")
			}
		}()
		b.proxy.runProbes(t.Context(), f, func(leases.Loan) loan { return oneOf(b) })
		<-done
		if len(f.said) != 17 || good() != 1 {
			t.Errorf("%d answers, %d good ones", len(f.said), good())
		}
	})
}

// oneOf is a loan whose secret any provider takes; which key it is does not matter to a probe.
func oneOf(b *bench) loan { return fakeLoan{b.book, b.book.keys["openrouter"][0]} }
