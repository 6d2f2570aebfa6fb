package system

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// afterHeartbeat waits until every node has told how it is: a heartbeat of ten seconds, and a tenth for its jitter.
func (c *cluster) afterHeartbeat() { time.Sleep(12 * time.Second) }

// models asks a node for its list of models so many times, and wants each answered.
func (c *cluster) models(node, token string, times int) {
	c.t.Helper()
	client := operator{t: c.t, base: "http://" + node, token: token, client: c.client, logs: c.logs}
	for range times {
		if got := client.try("GET", "/v1/models", ""); !got.ok() {
			c.t.Fatalf("models at %s: %v", node, got)
		}
	}
}

// wantLists holds how often the upstream has been asked for its list of models against how often it should have been.
func (c *cluster) wantLists(why string, want int) {
	c.t.Helper()
	asked := 0
	for _, e := range c.upstream.Ledger() {
		if e.Path == "/api/tags" {
			asked++
		}
	}
	if asked != want {
		c.t.Errorf("%s: the upstream was asked for its list %d times, want %d", why, asked, want)
	}
}

// cacheFigures are those of REST, which leaves a rate out when there is none.
type cacheFigures struct {
	Entries, Bytes, Hits, Misses float64
	HitRate                      *float64
}

func (f cacheFigures) String() string {
	return fmt.Sprintf("%v lists, %v hits, %v misses", f.Entries, f.Hits, f.Misses)
}

type cacheStats struct {
	Models cacheFigures
	Nodes  []struct {
		Node, Region string
		Models       cacheFigures
		AsOfTime     time.Time
	}
}

func (c *cluster) cacheStats(query string) (s cacheStats) {
	c.t.Helper()
	c.admin("GET", "/admin/cache/stats"+query, "", &s)
	return s
}

func TestCachesAreShownAndClearedEverywhere(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("lists")
		c.models("eu-1", token, 3)
		c.models("us-1", token, 1)
		c.wantLists("one question of each node", 2)
		c.afterHeartbeat()

		s := c.cacheStats("")
		if got := s.Models.String(); got != "2 lists, 2 hits, 2 misses" || s.Models.HitRate == nil || *s.Models.HitRate != 0.5 || s.Models.Bytes == 0 {
			t.Errorf("over the fleet: %+v", s.Models)
		}
		if len(s.Nodes) != 2 || s.Nodes[0].Node != "eu-1" || s.Nodes[0].Region != "eu-west" || s.Nodes[1].Node != "us-1" {
			t.Fatalf("nodes: %+v", s.Nodes)
		}
		for n, want := range []string{"1 lists, 2 hits, 1 misses", "1 lists, 0 hits, 1 misses"} {
			if got := s.Nodes[n]; got.Models.String() != want || time.Since(got.AsOfTime) > 12*time.Second {
				t.Errorf("%s: %v as of %v, want %s", got.Node, got.Models, got.AsOfTime, want)
			}
		}
		if got := c.cacheStats("?provider=openrouter").Models; got.String() != "0 lists, 0 hits, 0 misses" || got.HitRate != nil {
			t.Errorf("of a provider that nobody asked for: %+v", got)
		}

		c.admin("POST", "/admin/cache/clear", `{"provider":"openrouter"}`, nil)
		c.models("eu-1", token, 1)
		c.wantLists("another provider's was cleared", 2)
		for n, body := range []string{`{"provider":"ollama"}`, ""} {
			var r receipt
			c.admin("POST", "/admin/cache/clear", body, &r)
			if !slices.Equal(r.Receipt.Acknowledged, []string{"eu-1", "us-1"}) || len(r.Receipt.Pending)+len(r.Receipt.Unreachable) != 0 {
				t.Errorf("clear %q: receipt %+v", body, r)
			}
			c.models("eu-1", token, 2)
			c.models("us-1", token, 2)
			c.wantLists("after a clear each node asks once", 4+2*n)
		}
		if got := c.try("POST", "/admin/cache/clear", `{"provider":"nobody"}`); got.status != http.StatusNotFound {
			t.Errorf("a provider that is not there: %v", got)
		}
		c.afterHeartbeat()
		if got := c.cacheStats("?provider=ollama").Models.String(); got != "2 lists, 7 hits, 6 misses" {
			t.Errorf("in the end: %s", got)
		}
	})
}

func TestANodeThatIsCutOffForgetsWhenItIsBack(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("lists")
		c.models("eu-1", token, 1)
		c.models("us-1", token, 1)

		c.net.sever("us-1", "control")
		time.Sleep(time.Second)
		if s := c.cacheStats(""); len(s.Nodes) != 1 || s.Nodes[0].Node != "eu-1" {
			t.Errorf("connected: %+v", s.Nodes)
		}
		var r receipt
		c.admin("POST", "/admin/cache/clear", `{"provider":"ollama"}`, &r)
		if got := r.Receipt; !slices.Equal(got.Acknowledged, []string{"eu-1"}) || len(got.Pending) != 0 ||
			len(got.Unreachable) != 1 || got.Unreachable[0].Node != "us-1" || got.Unreachable[0].StopsBy == "" {
			t.Errorf("receipt: %+v", r)
		}
		c.models("us-1", token, 1)
		c.wantLists("the node that is cut off serves what it has", 2)
		c.models("eu-1", token, 1)
		c.wantLists("the other one asks", 3)

		c.net.mend("us-1", "control")
		time.Sleep(30 * time.Second) // the list would be good for five minutes
		c.models("us-1", token, 2)
		c.wantLists("back again, the node has forgotten", 4)
		c.models("eu-1", token, 1)
		c.wantLists("the other one has no reason to forget again", 4)
	})
}

// A node that hears nothing is pending; what was told and got lost on its way is told again when it connects anew.
func TestAClearThatGotLostOnItsWayIsToldAgain(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("lists")
		c.models("eu-1", token, 1)
		c.net.deafen("eu-1", "control")
		var r receipt
		c.admin("POST", "/admin/cache/clear?wait=1", "", &r)
		if !slices.Equal(r.Receipt.Pending, []string{"eu-1"}) || len(r.Receipt.Acknowledged) != 0 {
			t.Errorf("receipt: %+v", r)
		}
		c.models("eu-1", token, 1)
		c.wantLists("the node has not heard", 1)
		c.net.sever("eu-1", "control")
		c.net.mend("eu-1", "control")
		time.Sleep(30 * time.Second)
		c.models("eu-1", token, 1)
		c.wantLists("it has heard now", 2)
	})
}
