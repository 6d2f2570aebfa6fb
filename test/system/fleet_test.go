package system

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Two regions, twenty keys of which ten are bad in three ways, two thousand requests, and no client notices.
func TestProcessFailover(t *testing.T) {
	f := processes(t, "eu-1@eu-west", "us-1@us-east")
	var dead, limited, failing []string
	ids := map[string]string{}
	for n := range 20 {
		b := fakellm.Behaviour{}
		switch {
		case n < 5:
			b.Status = 401
			dead = append(dead, secret(n))
		case n < 8:
			b.Status, b.RetryAfter, b.CoolUntilRetryAfter = 429, "30", true
			limited = append(limited, secret(n))
		case n < 10:
			b.Status = 500
			failing = append(failing, secret(n))
		}
		ids[secret(n)] = f.addKey(secret(n), b)
	}
	l := &load{f: f, token: f.addToken("load"), nodes: []string{"eu-1", "us-1"}, pause: 250 * time.Millisecond}
	begin := time.Now()
	l.run(t.Context(), 16, 2000)
	took := time.Since(begin)
	l.wantNoErrors()
	if l.sent.Load() != 2000 {
		t.Errorf("sent %d requests", l.sent.Load())
	}

	ledger := f.upstream.Ledger()
	attempts := fakellm.Attempts(ledger)
	report(t, fakellm.DoubleTries(ledger))
	for _, key := range dead {
		report(t, fakellm.UsedAfter(attempts, key, begin.Add(time.Second)))
	}
	for _, key := range limited {
		first := firstRefusal(attempts, key)
		if first.IsZero() {
			t.Error("a limited key was never used: the test proves nothing")
		}
		// Requests that had borrowed the key when the 429 came, at either node, are on their way already.
		report(t, fakellm.UsedBetween(attempts, key, first.Add(250*time.Millisecond), first.Add(30*time.Second)))
	}
	for _, key := range failing {
		if status, reason := f.keyStatus(ids[key]); status != "auto_disabled" || reason != "server_error" {
			t.Errorf("a key that always answers 500 is %s (%s)", status, reason)
		}
	}
	if m := f.get(f.base + "/metrics"); !strings.Contains(m.body, `apipool_provider_failing{provider="ollama"} 0`) {
		t.Errorf("the provider is blamed: %s", grep(m.body, "apipool_provider_failing"))
	}
	f.compare(ledger, l)
	t.Logf("process failover: 2000 requests in %v, %d attempts (%.3f per request), client errors %d",
		took.Round(time.Millisecond), len(attempts), float64(len(attempts))/2000, len(l.errs))
	f.scan(l.token)
}

// A disable under load names both nodes as having confirmed, and the upstream sees the key in no request that began after.
func TestProcessDisableAndRevokeUnderLoad(t *testing.T) {
	f := processes(t, "eu-1@eu-west", "us-1@us-east")
	for n := range 6 {
		f.addKey(secret(n), fakellm.Behaviour{})
	}
	l := &load{f: f, token: f.addToken("load"), nodes: []string{"eu-1", "us-1"}, pause: time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, 8, 0) }()
	var latest time.Duration // of a use after a receipt
	for n := range 4 {
		time.Sleep(500 * time.Millisecond)
		var r receipt
		f.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"apiKey":%q,"note":"leaked"}`, secret(n)), &r)
		confirmed := time.Now()
		if got := strings.Join(r.Receipt.Acknowledged, " "); got != "eu-1 us-1" || len(r.Receipt.Pending)+len(r.Receipt.Unreachable) > 0 {
			t.Errorf("receipt: %+v", r)
		}
		time.Sleep(500 * time.Millisecond)
		before := 0
		for _, e := range fakellm.Attempts(f.upstream.Ledger()) {
			if e.Key == secret(n) && e.Start.Before(confirmed) {
				before++
			}
			l.mu.Lock()
			begun := l.started[e.RequestID]
			l.mu.Unlock()
			if e.Key == secret(n) && e.Start.After(confirmed) {
				latest = max(latest, e.Start.Sub(confirmed))
			}
			if e.Key == secret(n) && begun.After(confirmed) {
				t.Errorf("request %s began %v after the receipt and used the key", e.RequestID, begun.Sub(confirmed))
			}
		}
		// What had been sent before may still be on its way; how long is a figure, not a verdict, but there is an end to it.
		report(t, fakellm.UsedAfter(f.upstream.Ledger(), secret(n), confirmed.Add(250*time.Millisecond)))
		if before == 0 {
			t.Error("the key was not in use before: the test proves nothing")
		}
	}
	stop()
	<-done
	l.wantNoErrors()

	t.Logf("process disable: 4 keys under %d requests; latest arrival after a receipt: %v", l.sent.Load(), latest)

	f.admin("DELETE", "/admin/tokens", fmt.Sprintf(`{"token":%q}`, l.token), nil)
	for _, node := range []string{"eu-1", "us-1"} {
		if got := f.chat(node, l.token); got.status != 401 {
			t.Errorf("the first request after the revocation: %v", got)
		}
	}
	f.scan(l.token)
}

// A node that is stopped in order loses nothing and gives its lease back.
func TestProcessNodeStopsInOrder(t *testing.T) {
	f := processes(t, "eu-1@eu-west", "us-1@us-east")
	for n := range 3 {
		f.addKey(secret(n), fakellm.Behaviour{Chunks: 40, ChunkInterval: 50 * time.Millisecond})
	}
	l := &load{f: f, token: f.addToken("load"), nodes: []string{"eu-1"}}
	done := make(chan struct{})
	go func() { defer close(done); l.run(t.Context(), 20, 20) }()
	for wait := 0; len(fakellm.Attempts(f.upstream.Ledger())) < 20 && wait < 1000; wait++ {
		time.Sleep(5 * time.Millisecond) // until all have been accepted
	}
	if running := fakellm.InFlight(f.upstream.Ledger()); len(running) == 0 {
		t.Error("nothing is running: the test proves nothing")
	}
	if code := f.nodes["eu-1"].end(); code != 0 {
		t.Errorf("the node ended with code %d", code)
	}
	delete(f.nodes, "eu-1")
	<-done
	l.wantNoErrors() // streams that were running have finished
	f.compare(f.upstream.Ledger(), l)
	var node struct{ State string }
	f.admin("GET", "/admin/nodes/eu-1", "", &node)
	if node.State != "gone" {
		t.Errorf("the node is %q, want gone: it gave its lease back", node.State)
	}
}

// compare holds what the control plane counted against what the upstream saw and what the clients sent: exactly.
func (f *fleet) compare(ledger []fakellm.Entry, l *load) {
	f.t.Helper()
	total := f.settle()
	if got, want := int(total.UpstreamAttempts), len(fakellm.Attempts(ledger)); got != want {
		f.t.Errorf("counted %d attempts, the upstream saw %d", got, want)
	}
	if got, want := int64(total.TotalRequests), l.sent.Load(); got != want {
		f.t.Errorf("counted %d requests, the clients sent %d", got, want)
	}
	if got, want := int64(total.SuccessCount), l.sent.Load()-int64(len(l.errs)); got != want {
		f.t.Errorf("counted %d successes, the clients had %d", got, want)
	}
	counted := f.keyTotals()
	for key, seen := range fakellm.PerKey(ledger) {
		display := key[:4] + "…" + key[len(key)-4:]
		if counted[display] != seen.Total {
			f.t.Errorf("counted %d attempts of key %s, the upstream saw %d", counted[display], display, seen.Total)
		}
	}
}

func (f *fleet) keyTotals() map[string]int {
	f.t.Helper()
	totals := map[string]int{}
	for token := ""; ; {
		var page struct {
			Keys []struct {
				Display string
				Stats   struct{ Total float64 }
			}
			NextPageToken string
		}
		f.admin("GET", "/admin/keys/stats?pageSize=1000&pageToken="+token, "", &page)
		for _, k := range page.Keys {
			totals[k.Display] += int(k.Stats.Total)
		}
		if token = page.NextPageToken; token == "" {
			return totals
		}
	}
}

func (f *fleet) chat(node, token string) answer {
	f.t.Helper()
	o := operator{t: f.t, base: "http://" + f.port(node), token: token, client: f.client, logs: f.logs}
	return o.try("POST", "/v1/chat/completions",
		fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel))
}

func report(t *testing.T, violations []string) {
	t.Helper()
	for n, v := range violations {
		if n == 5 {
			t.Errorf("… and %s more", strconv.Itoa(len(violations)-n))
			return
		}
		t.Error(v)
	}
}

func firstRefusal(entries []fakellm.Entry, key string) (at time.Time) {
	for _, e := range entries {
		if e.Key == key && e.Status == 429 && (at.IsZero() || e.End.Before(at)) {
			at = e.End
		}
	}
	return at
}

func grep(text, word string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}
