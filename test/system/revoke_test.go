package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// long is a stream of a minute.
var long = fakellm.Behaviour{Chunks: 600, ChunkInterval: 100 * time.Millisecond}

// begin sends a request and does not wait for its answer.
func (c *cluster) begin(node, token, id string) <-chan answer {
	got := make(chan answer, 1)
	c.wg.Go(func() { got <- c.chat(node, token, id, true) })
	return got
}

// entryOf answers what the upstream saw of a request.
func (c *cluster) entryOf(id string) fakellm.Entry {
	c.t.Helper()
	for _, e := range c.upstream.Ledger() {
		if e.RequestID == id {
			return e
		}
	}
	c.t.Fatalf("the upstream has not seen %s", id)
	return fakellm.Entry{}
}

// wantCutOff holds that a stream ended as one that its upstream cuts, and that the upstream lost its client by then.
func (c *cluster) wantCutOff(id string, got answer, by time.Time) {
	c.t.Helper()
	if got.status != 200 || got.err == nil || !strings.Contains(got.body, `"error"`) || strings.Contains(got.body, "[DONE]") {
		c.t.Errorf("%s ended with %d %v …%q", id, got.status, got.err, got.body[max(len(got.body)-300, 0):])
	}
	time.Sleep(time.Second) // the upstream is about to notice
	if e := c.entryOf(id); e.Outcome != fakellm.Canceled || e.End.After(by) || e.Events == 0 {
		c.t.Errorf("%s at the upstream: %s at %v after %d events, want it gone by %v", id, e.Outcome, e.End, e.Events, by)
	}
}

// A key that has leaked: what is under way with it ends at once, at every node; what is under way with others goes on, and so
// does what is under way with a key that is only disabled.
func TestALeakedKeyIsCutOffEverywhere(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		token := c.addToken("streams")
		for round, how := range []string{"disabled", "deleted", "merely disabled"} {
			id := c.addKey(secret(round), long)
			time.Sleep(time.Second)
			eu, us := fmt.Sprint("eu-", round), fmt.Sprint("us-", round)
			gotEU, gotUS := c.begin("eu-1", token, eu), c.begin("us-1", token, us)
			time.Sleep(2 * time.Second)
			var r receipt
			switch how {
			case "disabled":
				c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"force":true,"cancelInFlight":true}`, id), &r)
			case "deleted":
				c.admin("DELETE", "/admin/api-keys", fmt.Sprintf(`{"id":%q,"cancelInFlight":true}`, id), &r)
			default:
				c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"force":true}`, id), &r)
			}
			if got := fmt.Sprint(r.Receipt.Acknowledged); got != "[eu-1 us-1]" {
				t.Errorf("%s: acknowledged by %s", how, got)
			}
			by := time.Now().Add(100 * time.Millisecond)
			if how == "merely disabled" {
				for _, got := range []answer{<-gotEU, <-gotUS} {
					if !got.ok() || !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
						t.Errorf("a plain disable cuts off too: %d %v", got.status, got.err)
					}
				}
				continue
			}
			c.wantCutOff(eu, <-gotEU, by)
			c.wantCutOff(us, <-gotUS, by)
		}
		c.settle()
		if f := c.stats(); f.UpstreamAttempts != 6 || f.TotalRequests != 6 || f.SuccessCount != 2 {
			t.Errorf("counted %+v", f)
		}
	})
}

// A node that is away when a key leaks hears of it when it is back, also that what is under way is to end, and also if the
// control plane has been started anew meanwhile.
func TestANodeThatWasAwayCutsOffWhenItIsBack(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		token := c.addToken("streams")
		disable, remove := "/admin/keys/disable", "/admin/api-keys"
		for round, path := range []string{disable, remove, disable, remove} {
			id := c.addKey(secret(round), long)
			time.Sleep(time.Second)
			name := fmt.Sprint("r", round)
			got := c.begin("eu-1", token, name)
			time.Sleep(2 * time.Second)
			c.net.sever("eu-1", "control")
			time.Sleep(time.Second)
			var r receipt
			if path == disable {
				c.admin("POST", path, fmt.Sprintf(`{"id":%q,"force":true,"cancelInFlight":true}`, id), &r)
			} else {
				c.admin("DELETE", path, fmt.Sprintf(`{"id":%q,"cancelInFlight":true}`, id), &r)
			}
			if len(r.Receipt.Unreachable) != 1 {
				t.Fatalf("the node is not away: %+v", r)
			}
			time.Sleep(5 * time.Second)
			if e := c.entryOf(name); e.Outcome != "" {
				t.Errorf("it ended although nobody could say so: %s", e.Outcome)
			}
			if round >= 2 {
				c.stopControl()
				c.startControl()
			}
			c.net.mend("eu-1", "control")
			c.wantCutOff(name, <-got, time.Now().Add(15*time.Second))
		}
	})
}

// The first key may be used for 90 s without a word from the control plane, the second for as long as there is grace. Nobody
// can tell the node that both are disabled; the receipt says when it stops, and the upstream sees that it does.
func TestANodeThatIsCutOffStopsInTimeWithAKeyThatMayNotBeStale(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		token := c.addToken("stale")
		for n := range 2 {
			c.behave(secret(n), fakellm.Behaviour{})
		}
		var made struct{ APIKey struct{ ID string } }
		c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"maxStale":90}`, secret(0)), &made)
		strict := made.APIKey.ID
		c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"priority":1}`, secret(1)), &made)
		loose := made.APIKey.ID
		used := func(key string, from, to time.Time) (n int) {
			for _, e := range fakellm.Attempts(c.upstream.Ledger()) {
				if e.Key == key && !e.Start.Before(from) && e.Start.Before(to) {
					n++
				}
			}
			return n
		}
		ask := func(seconds int) {
			for range seconds {
				if got := c.chat("eu-1", token, "r", false); !got.ok() {
					t.Fatalf("a client is refused: %v", got)
				}
				time.Sleep(time.Second)
			}
		}
		ask(25)
		c.net.sever("eu-1", "control")
		gone := time.Now()
		stops := map[string]time.Time{}
		for _, id := range []string{strict, loose} {
			var r receipt
			c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"force":true}`, id), &r)
			if len(r.Receipt.Unreachable) != 1 {
				t.Fatalf("the node is not away: %+v", r)
			}
			by, err := time.Parse(time.RFC3339Nano, r.Receipt.Unreachable[0].StopsBy)
			if err != nil {
				t.Fatal(err)
			}
			stops[id] = by
		}
		if left := stops[strict].Sub(gone); left > 90*time.Second || left < 70*time.Second {
			t.Errorf("the receipt says that it stops within %v", left)
		}
		if left := stops[loose].Sub(gone); left < 4*time.Hour {
			t.Errorf("the receipt says that it stops with the other key within %v", left)
		}
		ask(150)
		end := time.Now()
		if n := used(secret(0), gone.Add(60*time.Second), stops[strict]); n == 0 {
			t.Error("the node stopped long before it had to: this proves nothing")
		}
		if n := used(secret(0), stops[strict], end); n != 0 {
			t.Errorf("the key was used %d times after the receipt's time", n)
		}
		if n := used(secret(1), stops[strict], end); n == 0 {
			t.Error("the other key does not serve: this proves nothing")
		}
		c.admin("POST", "/admin/keys/enable", fmt.Sprintf(`{"id":%q}`, strict), nil)
		c.net.mend("eu-1", "control")
		time.Sleep(30 * time.Second)
		back := time.Now()
		ask(5)
		if n := used(secret(0), back, time.Now()); n != 5 {
			t.Errorf("with the control plane back the key serves %d of 5 requests", n)
		}
	})
}

// What a receipt says is so: a node that it names has begun nothing with the key since. The same look at a node that could not
// hear of it finds what it began.
func TestNothingBeginsAfterTheReceiptWhereItIsAcknowledged(t *testing.T) {
	nodes := []string{"eu-1", "eu-2", "us-1"}
	bubble(t, []string{"eu-1@eu-west", "eu-2@eu-west", "us-1@us-east"}, func(c *cluster) {
		for n := range 4 {
			c.addKey(secret(n), fakellm.Behaviour{})
		}
		token := c.addToken("load")
		stop := make(chan struct{})
		defer close(stop)
		for _, node := range nodes {
			c.ready(node)
			for range 2 {
				c.wg.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						case <-time.After(15 * time.Millisecond):
						}
						if got := c.chat(node, token, node, i%2 == 0); !got.ok() {
							t.Errorf("%s: %v", node, got)
						}
					}
				})
			}
		}
		begunAfter := func(key string, at time.Time) map[string]int {
			begun := map[string]int{}
			for _, e := range fakellm.Attempts(c.upstream.Ledger()) {
				if e.Key == key && e.Start.After(at) {
					begun[e.RequestID]++
				}
			}
			return begun
		}
		for n := range 3 {
			time.Sleep(500 * time.Millisecond)
			switch n {
			case 1: // keys in bulk are under way to all of them, slowly, and the disabled one is to follow
				var many strings.Builder
				for i := range 1500 {
					fmt.Fprintf(&many, "%q,", poolKey(i))
				}
				for _, node := range nodes {
					c.net.slow(node, "control", 20*time.Millisecond)
				}
				c.admin("POST", "/admin/api-keys/import", `{"provider":"openrouter","keys":[`+strings.TrimSuffix(many.String(), ",")+`]}`, nil)
			case 2: // the control: this node goes on, as it does not hear
				for _, node := range nodes {
					c.net.mend(node, "control")
				}
				time.Sleep(2 * time.Second)
				c.net.deafen("us-1", "control")
			}
			var r receipt
			c.admin("POST", "/admin/keys/disable?wait=5", fmt.Sprintf(`{"apiKey":%q}`, secret(n)), &r)
			at := time.Now()
			time.Sleep(time.Second)
			begun := begunAfter(secret(n), at)
			for _, node := range r.Receipt.Acknowledged {
				if begun[node] > 0 {
					t.Errorf("%s began %d requests with a key whose disable it had confirmed", node, begun[node])
				}
			}
			if n < 2 && len(r.Receipt.Acknowledged) != 3 {
				t.Errorf("acknowledged by %v", r.Receipt.Acknowledged)
			}
			if n == 2 && (fmt.Sprint(r.Receipt.Pending) != "[us-1]" || begun["us-1"] == 0) {
				t.Errorf("pending is %v, which began %d: this look finds nothing", r.Receipt.Pending, begun["us-1"])
			}
		}
		c.net.mend("us-1", "control")
	})
}
