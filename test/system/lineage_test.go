package system

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// flow is requests to every node, one a second each, for as long as a story lasts.
type flow struct {
	*cluster
	token string
	nodes []string
	sent  int
	bad   int // not answered in full
}

// pass lets time pass while requests flow; each is to be answered in full.
func (f *flow) pass(d time.Duration) {
	f.t.Helper()
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(time.Second) {
		for _, node := range f.nodes {
			f.sent++
			if got := f.chat(node, f.token, fmt.Sprint("f", f.sent), f.sent%2 == 0); !got.ok() {
				f.bad++
				f.t.Errorf("request %d at %s: %v", f.sent, node, got)
			}
		}
	}
}

// usedSince answers the keys that were used since then.
func (c *cluster) usedSince(t time.Time) map[string]int {
	used := map[string]int{}
	for _, e := range fakellm.Attempts(c.upstream.Ledger()) {
		if !e.Start.Before(t) {
			used[e.Key]++
		}
	}
	return used
}

// opened answers how many sessions a node has opened.
func (c *cluster) opened(node string) int {
	n := 0
	for line := range strings.Lines(c.logs.String()) {
		if strings.Contains(line, `msg="session opened"`) && strings.Contains(line, "who="+node) {
			n++
		}
	}
	return n
}

const noticed = "it is a backup that was restored, and begins a new lineage"

// Nodes that have lived through more than a backup knows go on, agree with what it says, and keep nothing that it lacks.
func TestNodesOfANewerLifeAgreeWithAnOldBackup(t *testing.T) {
	nodes := []string{"eu-1", "us-1"}
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		for _, id := range nodes {
			c.ready(id)
		}
		f := &flow{cluster: c, token: c.addToken("restore"), nodes: nodes}
		var ids []string
		for n := range 3 {
			ids = append(ids, c.addKey(secret(n), fakellm.Behaviour{}))
		}
		f.pass(10 * time.Second)
		c.stopControl()
		data, backup := filepath.Join(c.dir, "control"), filepath.Join(c.dir, "backup")
		copyFolder(t, data, backup)

		for range 3 { // terms that the backup has not heard of
			c.startControl()
			f.pass(15 * time.Second)
			c.stopControl()
		}
		c.startControl()
		f.pass(15 * time.Second)
		ids = append(ids, c.addKey(secret(3), fakellm.Behaviour{}), c.addKey(secret(4), fakellm.Behaviour{}))
		later := c.addToken("later")
		c.admin("POST", "/admin/keys/disable", `{"id":"`+ids[0]+`"}`, nil)
		c.admin("DELETE", "/admin/api-keys/"+ids[1], "", nil)
		for n := range 10 { // revisions of a key that the backup has too
			c.admin("PATCH", "/admin/api-keys/"+ids[2], fmt.Sprintf(`{"label":"edit %d"}`, n), nil)
		}
		f.pass(15 * time.Second)
		c.settle()

		c.stopControl()
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(backup, data); err != nil {
			t.Fatal(err)
		}
		c.startControl()
		f.pass(30 * time.Second)
		agreed := time.Now()
		f.pass(20 * time.Second)
		used := c.usedSince(agreed)
		for n, want := range []bool{true, true, true, false, false} {
			if got := used[secret(n)] > 0; got != want {
				t.Errorf("key %d of the backup's three is used: %v (%d times)", n, got, used[secret(n)])
			}
		}
		for _, id := range nodes {
			if got := c.chat(id, later, "later-"+id, false); got.status != 401 {
				t.Errorf("a token that the backup lacks, at %s: %v", id, got)
			}
			var node struct{ State string }
			if c.admin("GET", "/admin/nodes/"+id, "", &node); node.State != "live" {
				t.Errorf("%s is %q", id, node.State)
			}
		}
		// The new lineage lasts, and both nodes' word for the restore makes one of it.
		c.stopControl()
		c.startControl()
		f.pass(15 * time.Second)
		c.restored = 1
		c.settle()
		figure(t, "none", "old backup restored", "%d requests, %d client errors, 1 new lineage", f.sent, f.bad)
	})
}

// A link that carries one way only is noticed by its silence; nobody's requests are, and what was decided meanwhile holds
// once it is mended.
func TestALinkThatCarriesOneWayOnly(t *testing.T) {
	for _, way := range []string{"nothing arrives at the node", "nothing arrives from the node"} {
		t.Run(way, func(t *testing.T) {
			bubble(t, []string{"eu-1@eu-west", "eu-2@eu-west"}, func(c *cluster) {
				c.ready("eu-1")
				c.ready("eu-2")
				f := &flow{cluster: c, token: c.addToken("oneway"), nodes: []string{"eu-1", "eu-2"}}
				for n := range 3 {
					c.addKey(secret(n), fakellm.Behaviour{})
				}
				f.pass(20 * time.Second)
				lose := c.net.deafen
				if way == "nothing arrives from the node" {
					lose = c.net.silence
				}
				lost := time.Now()
				lose("eu-1", "control")
				for wait := 0; !strings.Contains(c.linkOf("eu-1"), "out of reach"); wait++ {
					if wait > 120 {
						t.Fatal("the node does not notice")
					}
					f.pass(time.Second)
				}
				beats := time.Since(lost).Seconds() / 10
				if beats > 3.5 {
					t.Errorf("noticed after %.1f heartbeats", beats)
				}
				var r receipt
				c.admin("POST", "/admin/keys/disable?wait=1", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), &r)
				if !slices.Equal(r.Receipt.Acknowledged, []string{"eu-2"}) || len(r.Receipt.Pending)+len(r.Receipt.Unreachable) != 1 {
					t.Errorf("receipt: %+v", r)
				}
				f.pass(2 * time.Minute) // longer than the lease
				c.net.mend("eu-1", "control")
				f.pass(30 * time.Second)
				healed := time.Now()
				f.pass(10 * time.Second)
				if used := c.usedSince(healed); used[secret(0)] != 0 || used[secret(1)] == 0 {
					t.Errorf("used since the link is whole: %d and %d times", used[secret(0)], used[secret(1)])
				}
				c.settle()
				if s := c.stats(); int(s.TotalRequests) != f.sent || int(s.SuccessCount) != f.sent {
					t.Errorf("counted %v requests and %v successes, the clients sent %d", s.TotalRequests, s.SuccessCount, f.sent)
				}
				figure(t, "none", "one-way loss, "+way, "noticed after %.1f heartbeats, %d requests, %d client errors", beats, f.sent, f.bad)
			})
		})
	}
}

// linkOf answers what a node says of its link.
func (c *cluster) linkOf(node string) string {
	c.t.Helper()
	return c.get("http://" + node + "-ops/readyz").body
}
