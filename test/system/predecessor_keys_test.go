package system

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// uses counts the attempts that the upstream has seen with a key.
func (c *cluster) uses(key string) (n int) {
	for _, e := range fakellm.Attempts(c.upstream.Ledger()) {
		if e.Key == key {
			n++
		}
	}
	return n
}

// ask sends so many requests one after the other.
func (c *cluster) ask(token string, times int) {
	for range times {
		c.chat("eu-1", token, "", false)
		time.Sleep(100 * time.Millisecond)
	}
}

// Each provider's models and figures are its own, whichever was asked about first.
func TestPredecessor_A3(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		has := map[string][]string{
			"ollama":     {fakellm.DefaultModel},
			"openrouter": {"a/1", "a/2", "b/1", "b/2", fakellm.DefaultModel},
		}
		router := fakellm.New(fakellm.Config{Dialect: fakellm.OpenRouter, Models: has["openrouter"]})
		if err := router.SetKey(secret(9), fakellm.Behaviour{}); err != nil {
			t.Fatal(err)
		}
		c.admin("PATCH", "/admin/providers/openrouter", `{"baseUrl":"`+c.serve("router", router.ServeHTTP)+`/api","allowPrivateAddresses":true}`, nil)
		c.admin("POST", "/admin/api-keys", `{"provider":"openrouter","apiKey":"`+secret(9)+`"}`, nil)
		for n := range 4 {
			c.addKey(secret(n), fakellm.Behaviour{})
		}
		c.admin("POST", "/admin/keys/disable", `{"apiKey":"`+secret(3)+`"}`, nil)
		token := c.addToken("both")
		c.settle()
		for range 3 {
			c.chat("eu-1", token, "", false)
		}
		for range 5 {
			c.chat("eu-1/openrouter", token, "", false)
		}
		c.settle()

		type row struct {
			Provider                                                string
			TotalAPIKeys                                            int `json:"totalApiKeys"`
			ActiveKeys, FailedKeys, TotalRequests, UpstreamAttempts int
		}
		want := map[string]row{"ollama": {"ollama", 4, 3, 0, 3, 3}, "openrouter": {"openrouter", 1, 1, 0, 5, 5}}
		var all, of struct{ Providers []row }
		c.admin("GET", "/admin/stats", "", &all)
		if !slices.Equal(all.Providers, []row{want["ollama"], want["openrouter"]}) {
			t.Errorf("figures of all: %+v", all.Providers)
		}
		for _, id := range []string{"openrouter", "ollama", "openrouter"} {
			c.admin("GET", "/admin/stats?provider="+id, "", &of)
			if !slices.Equal(of.Providers, []row{want[id]}) {
				t.Errorf("figures of %s: %+v", id, of.Providers)
			}
			var public struct{ TotalRequests int }
			if c.admin("GET", "/admin/public-stats?provider="+id, "", &public); public.TotalRequests != want[id].TotalRequests {
				t.Errorf("%s has %d requests in public", id, public.TotalRequests)
			}
			got := c.as(token).try("GET", "/"+id+"/v1/models", "")
			var list struct{ Data []struct{ ID string } }
			if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list.Data) != len(has[id]) {
				t.Errorf("%s lists %v", id, got)
			}
			for _, m := range list.Data {
				if !slices.Contains(has[id], m.ID) {
					t.Errorf("%s lists %s", id, m.ID)
				}
			}
		}
	})
}

// From the instant that a disable is acknowledged, or a key's life is over, no request starts with the key anywhere.
func TestPredecessor_A6(t *testing.T) {
	nodes := []string{"eu-1@eu-west", "eu-2@eu-west", "us-1@us-east"}
	bubble(t, nodes, func(c *cluster) {
		for n := range nodes {
			nodes[n], _, _ = strings.Cut(nodes[n], "@")
			c.ready(nodes[n])
		}
		over := map[string]time.Time{}
		for n := range 6 {
			c.addKey(secret(n), fakellm.Behaviour{Delay: 30 * time.Millisecond})
		}
		over[secret(5)] = time.Now().Add(7500 * time.Millisecond)
		c.admin("PATCH", "/admin/api-keys/"+c.keyOf(secret(5)), `{"expireTime":"`+over[secret(5)].Format(time.RFC3339Nano)+`"}`, nil)
		token := c.addToken("load")
		var clients sync.WaitGroup
		var quit atomic.Bool
		for n := range 9 {
			clients.Go(func() {
				for i := 0; !quit.Load(); i++ {
					if got := c.chat(nodes[n%3], token, fmt.Sprintf("c%d-%d", n, i), i%2 == 0); !got.ok() {
						t.Errorf("a client got %v", got)
					}
					time.Sleep(time.Duration(7+n) * time.Millisecond)
				}
			})
		}
		for n := range 4 {
			time.Sleep(2 * time.Second)
			var r receipt
			c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"apiKey":%q}`, secret(n)), &r)
			over[secret(n)] = time.Now()
			if !slices.Equal(r.Receipt.Acknowledged, nodes) {
				t.Errorf("acknowledged by %v", r.Receipt.Acknowledged)
			}
		}
		time.Sleep(2 * time.Second)
		quit.Store(true)
		clients.Wait()
		ledger := c.upstream.Ledger()
		for key, since := range over {
			report(t, fakellm.UsedAfter(ledger, key, since))
			if len(fakellm.UsedAfter(ledger, key, since.Add(-200*time.Millisecond))) == 0 {
				t.Errorf("key …%s was not in use before: the test proves nothing", key[len(key)-4:])
			}
		}
		if n := c.uses(secret(4)); n < 100 {
			t.Errorf("the key that was left served %d requests", n)
		}
	})
}

// What the upstream's ledger knows of a key's failures, REST shows of the key; with as many as the setting says it goes.
func TestPredecessor_A7(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		const limit = 5
		c.admin("PATCH", "/admin/providers/ollama", fmt.Sprintf(`{"failover":{"strikes":%d}}`, limit), nil)
		id := c.addKey(secret(0), fakellm.Behaviour{Status: 500})
		c.addKey(secret(1), fakellm.Behaviour{})
		c.addKey(secret(2), fakellm.Behaviour{})
		token := c.addToken("seven")
		type shown struct {
			ID, Status string
			Stats      struct{ Total, Failure, ConsecutiveFailures int }
		}
		for n := 1; n <= limit; n++ {
			for tries := 0; c.uses(secret(0)) < n && tries < 20; tries++ {
				c.ask(token, 1)
			}
			c.settle()
			want := shown{ID: id, Status: "active"}
			if want.Stats.Total, want.Stats.Failure, want.Stats.ConsecutiveFailures = n, n, n; n == limit {
				want.Status = "auto_disabled"
			}
			var one shown
			var list struct{ Keys []shown }
			c.admin("GET", "/admin/api-keys/"+id, "", &one)
			c.admin("GET", "/admin/keys/stats", "", &list)
			if one != want || !slices.Contains(list.Keys, want) {
				t.Errorf("after %d failures: shown as %+v, and in %+v", n, one, list.Keys)
			}
		}
		c.ask(token, 30)
		if n := c.uses(secret(0)); n != limit {
			t.Errorf("the upstream saw %d attempts, the key went with failure %d", n, limit)
		}
	})
}

// A key that fails every other time stays; with the third failure in a row it goes.
func TestPredecessor_A8(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		var script []fakellm.Behaviour
		for range 30 {
			script = append(script, fakellm.Behaviour{Status: 500}, fakellm.Behaviour{})
		}
		id := c.addKey(secret(0), fakellm.Behaviour{Script: append(script, fakellm.Behaviour{Status: 500})})
		c.addKey(secret(1), fakellm.Behaviour{})
		c.addKey(secret(2), fakellm.Behaviour{})
		token := c.addToken("eight")
		for n := 0; c.uses(secret(0)) < len(script) && n < 1000; n++ {
			c.chat([]string{"eu-1", "us-1"}[n%2], token, "", false)
			time.Sleep(250 * time.Millisecond)
		}
		if status, reason := c.keyStatus(id); status != "active" {
			t.Errorf("after 30 failures with a success after each it is %s (%s)", status, reason)
		}
		c.ask(token, 30)
		if status, reason := c.keyStatus(id); status != "auto_disabled" || reason != "server_error" || c.uses(secret(0)) != len(script)+3 {
			t.Errorf("after %d more failures in a row it is %s (%s)", c.uses(secret(0))-len(script), status, reason)
		}
	})
}

// A key that is out is used again from the time on that REST tells, and nobody puts it back.
func TestPredecessor_A9(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		id := c.addKey(secret(0), fakellm.Behaviour{})
		c.addKey(secret(1), fakellm.Behaviour{})
		c.addKey(secret(2), fakellm.Behaviour{})
		token := c.addToken("nine")
		begin := time.Now()
		for _, row := range []struct {
			what   string
			out    func()
			status string
			wait   time.Duration
			told   time.Duration // until the control plane's word is here: it looks every second, and asks first about some
		}{
			{"a cool-down", func() { c.behave(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "90"}) }, "cooling", 90 * time.Second, 1200 * time.Millisecond},
			{"an operator's disable", func() {
				c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"duration":600}`, id), nil)
			}, "disabled", 10 * time.Minute, 1200 * time.Millisecond},
			{"an ejection", func() { c.behave(secret(0), fakellm.Behaviour{Status: 500}) }, "auto_disabled", time.Hour, 1200 * time.Millisecond},
		} {
			row.out()
			c.ask(token, 20)
			var k struct {
				Status string
				Until  time.Time
			}
			c.admin("GET", "/admin/api-keys/"+id, "", &k)
			if left := time.Until(k.Until); k.Status != row.status || left > row.wait || left < row.wait-3*time.Second {
				t.Fatalf("%s: it is %s for %v", row.what, k.Status, left)
			}
			c.behave(secret(0), fakellm.Behaviour{Delay: 500 * time.Millisecond}) // long enough to be asked again
			used := c.uses(secret(0))
			time.Sleep(time.Until(k.Until) - 400*time.Millisecond)
			if c.ask(token, 3); c.uses(secret(0)) != used {
				t.Errorf("%s: used before its end", row.what)
			}
			time.Sleep(time.Until(k.Until) + row.told)
			for range 3 { // at this instant
				c.chat("eu-1", token, "", false)
			}
			if c.uses(secret(0)) != used+1 {
				t.Errorf("%s: of three requests from its end on it had %d", row.what, c.uses(secret(0))-used)
			}
			if status, reason := c.keyStatus(id); status != "active" {
				t.Errorf("%s: after its end it is %s (%s)", row.what, status, reason)
			}
		}
		probes := 0
		for _, e := range c.upstream.Ledger() {
			if e.Probe {
				probes++
			}
		}
		if probes != 2 { // after the cool-down and after the ejection
			t.Errorf("%d probes in %v", probes, time.Since(begin))
		}
	})
}

// When most keys of a provider fail alike it is the provider's fault: no key is ejected for it, and half a minute after the
// end, which is how long a probe waits for the next, every key serves. That holds too if hardly anyone asks meanwhile.
func TestPredecessor_A11(t *testing.T) {
	for _, row := range []struct {
		failing int // of ten
		pause   time.Duration
		blamed  bool
	}{{10, 0, true}, {8, 0, true}, {10, 15 * time.Second, false}} {
		bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
			c.ready("eu-1")
			for n := range 10 {
				c.addKey(secret(n), fakellm.Behaviour{})
			}
			token := c.addToken("eleven")
			c.ask(token, 100)
			for n := range row.failing {
				c.behave(secret(n), fakellm.Behaviour{Status: 503})
			}
			for round := range 40 {
				if row.pause == 0 {
					c.ask(token, 10) // a second
				} else {
					c.ask(token, 1)
					time.Sleep(row.pause)
				}
				// Ten seconds of failures must outweigh ten of success, and be reported.
				if f := c.stats(); f.FailedKeys > 5 || (round > 12 && f.FailedKeys > 0) {
					t.Errorf("%+v: %v keys are ejected in round %d", row, f.FailedKeys, round)
				}
			}
			m := c.try("GET", "/metrics", "")
			if strings.Contains(m.body, `apipool_provider_failing{provider="ollama"} 1`) != row.blamed {
				t.Errorf("%+v: blame: %s", row, grep(m.body, "apipool_provider_failing"))
			}
			for n := range row.failing {
				c.behave(secret(n), fakellm.Behaviour{})
			}
			before := len(c.upstream.Ledger())
			for range 15 { // slowly: the first success is reported before most keys have had another chance
				c.ask(token, 1)
				time.Sleep(1900 * time.Millisecond)
			}
			served := map[string]bool{}
			for _, e := range c.upstream.Ledger()[before:] {
				served[e.Key] = served[e.Key] || e.Outcome == fakellm.Completed
			}
			if f := c.stats(); f.ActiveKeys != 10 || len(served) != 10 {
				t.Errorf("%+v: after it %v keys are active, and %d serve", row, f.ActiveKeys, len(served))
			}
		})
	}
}

// What is counted of a request is how its answer ended, once: nothing while a stream goes on, and no success if it is not whole.
func TestPredecessor_A13(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.admin("PATCH", "/admin/providers/ollama", `{"timeouts":{"firstByte":20}}`, nil)
		id := c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("thirteen")
		type counts struct{ Total, Success, Failure float64 }
		ofKey := func() counts {
			var k struct{ Stats counts }
			c.admin("GET", "/admin/api-keys/"+id, "", &k)
			return k.Stats
		}
		slow := fakellm.Behaviour{Chunks: 10, ChunkInterval: time.Second}
		with := func(change func(b *fakellm.Behaviour)) fakellm.Behaviour {
			b := slow
			change(&b)
			return b
		}
		good, bad, neither := counts{1, 1, 0}, counts{1, 0, 1}, counts{1, 0, 0}
		for _, row := range []struct {
			what   string
			does   fakellm.Behaviour
			leaves bool
			want   counts // of requests, and of the key's attempts
		}{
			{"a whole stream", slow, false, good},
			{"a stream that is cut", with(func(b *fakellm.Behaviour) { b.TruncateAfter = 8 }), false, bad},
			{"a stream that ends too early", with(func(b *fakellm.Behaviour) { b.EndEarlyAfter = 8 }), false, bad},
			{"an error within a stream", with(func(b *fakellm.Behaviour) { b.ErrorAfter = 8 }), false, bad},
			{"an error instead of a stream", with(func(b *fakellm.Behaviour) { b.FirstEventError, b.Delay = true, 8*time.Second }), false, bad},
			{"a client that leaves", slow, true, neither},
			{"silence", fakellm.Behaviour{Hang: true}, false, bad},
		} {
			before, key := c.stats(), ofKey()
			c.behave(secret(0), row.does)
			ctx, leave := context.WithCancel(c.t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				req, err := http.NewRequestWithContext(ctx, "POST", "http://eu-1/v1/chat/completions", strings.NewReader(
					fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel)))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token)
				req.Header.Set("Content-Type", "application/json")
				c.do(req)
			}()
			time.Sleep(6 * time.Second)
			if now := c.stats(); now != before || ofKey() != key {
				t.Errorf("%s: counted before its end: %+v %+v", row.what, now, ofKey())
			}
			if row.leaves {
				leave()
			}
			<-done
			leave()
			c.settle()
			now := c.stats()
			requests := counts{now.TotalRequests - before.TotalRequests, now.SuccessCount - before.SuccessCount, now.FailureCount - before.FailureCount}
			is := ofKey()
			attempts := counts{is.Total - key.Total, is.Success - key.Success, is.Failure - key.Failure}
			if requests != row.want || attempts != row.want || now.UpstreamAttempts != before.UpstreamAttempts+1 {
				t.Errorf("%s: counted %+v of requests and %+v of attempts, want %+v", row.what, requests, attempts, row.want)
			}
		}
		if n := c.uses(secret(0)); n != 7 {
			t.Errorf("%d attempts", n)
		}
	})
}
