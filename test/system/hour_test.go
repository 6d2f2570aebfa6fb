package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// An hour of leases, expiry, grace and failover.
func TestAnHourOfLeases(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		for n := range 4 {
			c.addKey(secret(n), fakellm.Behaviour{})
		}
		limited := c.addKey(secret(4), fakellm.Behaviour{Status: 429, RetryAfter: "600", CoolUntilRetryAfter: true})
		failing := c.addKey(secret(5), fakellm.Behaviour{Status: 500})
		dead := c.addKey(secret(6), fakellm.Behaviour{Status: 401})
		token := c.addToken("hour")

		sent := 0
		ask := func(times int) {
			t.Helper()
			for range times {
				for _, node := range []string{"eu-1", "us-1"} {
					sent++
					if got := c.chat(node, token, fmt.Sprint("r", sent), sent%2 == 0); !got.ok() {
						t.Fatalf("request %d at %s: %v", sent, node, got)
					}
				}
				time.Sleep(500 * time.Millisecond)
			}
		}
		ask(20)
		for id, want := range map[string]string{limited: "cooling", failing: "auto_disabled", dead: "auto_disabled"} {
			if got, why := c.keyStatus(id); got != want {
				t.Errorf("key is %s (%s), want %s", got, why, want)
			}
		}

		c.behave(secret(5), fakellm.Behaviour{})

		// The control plane is away for half an hour: leases run out after a minute, grace carries on.
		c.stopControl()
		for range 30 {
			time.Sleep(time.Minute)
			ask(1)
		}
		c.startControl()
		time.Sleep(15 * time.Second)
		ask(3)

		// One node is cut off; the other one hears of a disable, and the receipt says so.
		c.net.sever("us-1", "control")
		time.Sleep(time.Second)
		var receipt struct {
			Receipt struct {
				Acknowledged []string
				Unreachable  []struct {
					Node    string
					StopsBy time.Time
				}
			}
		}
		healthy := c.keyOf(secret(0))
		c.admin("POST", "/admin/keys/disable", `{"id":"`+healthy+`","force":true}`, &receipt)
		if r := receipt.Receipt; len(r.Acknowledged) != 1 || r.Acknowledged[0] != "eu-1" ||
			len(r.Unreachable) != 1 || r.Unreachable[0].Node != "us-1" || time.Until(r.Unreachable[0].StopsBy) > 4*time.Hour+time.Minute {
			t.Errorf("receipt: %+v", receipt)
		}
		c.net.mend("us-1", "control")
		time.Sleep(30 * time.Second)
		disabledAt := time.Now()
		ask(10)
		for _, v := range fakellm.UsedAfter(c.upstream.Ledger(), secret(0), disabledAt) {
			t.Error(v)
		}

		// The hour is over: what was out for it has been probed, once, and the good ones are back.
		time.Sleep(40 * time.Minute)
		ask(5)
		for id, want := range map[string]string{limited: "active", failing: "active", dead: "auto_disabled"} {
			if got, why := c.keyStatus(id); got != want {
				t.Errorf("after the hour a key is %s (%s), want %s", got, why, want)
			}
		}

		c.settle()
		ledger := c.upstream.Ledger()
		for _, v := range fakellm.DoubleTries(ledger) {
			t.Error(v)
		}
		f := c.stats()
		if attempts := len(fakellm.Attempts(ledger)); int(f.UpstreamAttempts) != attempts {
			t.Errorf("counted %v attempts, the upstream saw %d", f.UpstreamAttempts, attempts)
		}
		if int(f.TotalRequests) != sent || int(f.SuccessCount) != sent {
			t.Errorf("counted %v requests and %v successes, the client sent %d", f.TotalRequests, f.SuccessCount, sent)
		}
	})
}

func TestANodeThatStartsFirstSaysSoAndServesOnceTheControlPlaneIsThere(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("first")
		c.stopControl()
		c.startNode("eu-1@eu-west")
		time.Sleep(5 * time.Second)
		if got := c.chat("eu-1", token, "r1", false); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("without its control plane a new node answers %v", got)
		}
		if got := c.get("http://eu-1-ops/readyz"); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "control plane") {
			t.Errorf("/readyz says %v", got)
		}
		c.startControl()
		c.ready("eu-1")
		if got := c.chat("eu-1", token, "r2", false); !got.ok() {
			t.Errorf("once it is there: %v", got)
		}
	})
}

func TestAfterLeaseAndGraceANodeStopsAndComesBackByItself(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("grace")
		c.stopControl()
		time.Sleep(4 * time.Hour) // the grace; the lease of a minute is not over yet
		if got := c.chat("eu-1", token, "r1", false); !got.ok() {
			t.Errorf("within lease and grace: %v", got)
		}
		time.Sleep(2 * time.Minute)
		if got := c.chat("eu-1", token, "r2", false); got.status != http.StatusServiceUnavailable {
			t.Errorf("after lease and grace: %v", got)
		}
		c.startControl()
		c.ready("eu-1")
		if got := c.chat("eu-1", token, "r3", false); !got.ok() {
			t.Errorf("when the control plane is back: %v", got)
		}
	})
}

func TestARevokedTokenIsRefusedFromTheNextRequestOn(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		kept, token := c.addToken("kept"), c.addToken("gone")
		for _, node := range []string{"eu-1", "us-1"} {
			if got := c.chat(node, token, node, false); !got.ok() {
				t.Fatalf("before: %v", got)
			}
		}
		c.admin("DELETE", "/admin/tokens", fmt.Sprintf(`{"token":%q}`, token), nil)
		for _, node := range []string{"eu-1", "us-1"} {
			if got := c.chat(node, token, node+"-2", false); got.status != http.StatusUnauthorized {
				t.Errorf("after: %v", got)
			}
			if got := c.chat(node, kept, node+"-3", false); !got.ok() {
				t.Errorf("another token: %v", got)
			}
		}
	})
}
