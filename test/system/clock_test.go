package system

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	controlplane "ollama-api-pool/controlplane/server"
	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

// calendar is a wall clock that can be set.
type calendar struct{ off atomic.Int64 }

func (c *calendar) now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

const year = 365 * 24 * time.Hour

// Whoever sets a machine's calendar, forth or back, ends no lease, breaks no session and lets no key that has been told to
// wait go early: nodes count by a clock that nobody sets.
func TestACalendarThatIsSetEndsNoLease(t *testing.T) {
	for _, plane := range []string{"node", "control plane"} {
		t.Run(plane, func(t *testing.T) {
			var set calendar
			bubble(t, nil, func(c *cluster) {
				if plane == "node" {
					c.changeDP = func(cfg *dataplane.Config) { cfg.Wall = set.now }
				} else {
					c.changeCP = func(cfg *controlplane.Config) { cfg.Now = set.now }
					c.stopControl()
					c.startControl()
				}
				c.startNode("eu-1@eu-west")
				c.ready("eu-1")
				f := &flow{cluster: c, token: c.addToken("clock"), nodes: []string{"eu-1"}}
				for n := range 2 {
					c.addKey(secret(n), fakellm.Behaviour{})
				}
				f.pass(10 * time.Second)
				before := c.opened("eu-1")
				for n, step := range []time.Duration{time.Hour, -time.Hour, year, -year, 0} {
					waits := secret(10 + n)
					c.addKey(waits, fakellm.Behaviour{Status: 429, RetryAfter: "100", CoolUntilRetryAfter: true})
					f.pass(10 * time.Second)
					first := firstRefusal(c.upstream.Ledger(), waits)
					if first.IsZero() {
						t.Fatal("the key that is to wait was never used: the test proves nothing")
					}
					set.off.Store(int64(step))
					f.pass(80 * time.Second) // more than a lease
					if plane == "node" {
						report(t, fakellm.UsedBetween(c.upstream.Ledger(), waits, first, first.Add(100*time.Second)))
					}
					var node struct{ State string }
					if c.admin("GET", "/admin/nodes/eu-1", "", &node); node.State != "live" {
						t.Errorf("set by %v, the node is %q", step, node.State)
					}
				}
				if n := c.opened("eu-1"); before != 1 || n != 1 {
					t.Errorf("%d sessions, and %d before the calendar was set", n, before)
				}
				c.settle()
				if s := c.stats(); int(s.TotalRequests) != f.sent {
					t.Errorf("counted %v requests, the clients sent %d", s.TotalRequests, f.sent)
				}
				figure(t, "none", "calendar set by ±1 h and ±1 y at the "+plane, "%d requests, %d client errors, %d sessions", f.sent, f.bad, c.opened("eu-1"))
			})
		})
	}
}

// And would it notice a lease that follows the calendar?
func TestALeaseThatFollowsTheCalendarIsNoticed(t *testing.T) {
	var set calendar
	bubble(t, nil, func(c *cluster) {
		c.changeDP = func(cfg *dataplane.Config) {
			begin := time.Now()
			cfg.Now = func() time.Duration { return set.now().Sub(begin) + time.Hour }
		}
		c.startNode("eu-1@eu-west")
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("clock")
		set.off.Store(int64(year))
		if got := c.chat("eu-1", token, "r1", false); got.ok() {
			t.Error(fmt.Sprint("a lease by a calendar that was set by a year still holds: ", got))
		}
	})
}
