package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

func (c *cluster) joinToken(body string) string {
	c.t.Helper()
	var made struct{ JoinToken string }
	c.admin("POST", "/admin/nodes/join-tokens", body, &made)
	return made.JoinToken
}

// joining starts a node with a join token of its own.
func (c *cluster) joining(name, token string) {
	c.t.Helper()
	c.changeDP = func(cfg *dataplane.Config) { cfg.JoinToken = token }
	defer func() { c.changeDP = nil }()
	c.startNode(name)
}

func TestOfTwoNodesThatJoinWithOneTokenOneIsLetIn(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		for round := range 5 {
			token := c.joinToken(`{}`)
			nodes := []string{fmt.Sprintf("a-%d", round), fmt.Sprintf("b-%d", round)}
			for _, id := range nodes {
				c.joining(id+"@eu-west", token)
			}
			time.Sleep(time.Minute)
			in := 0
			for _, id := range nodes {
				switch got := c.get("http://" + id + "-ops/readyz"); {
				case got.ok():
					in++
				case !strings.Contains(got.body, "no valid join token"):
					t.Errorf("the one that lost says %v", got)
				}
			}
			if in != 1 {
				t.Errorf("%d nodes got in with a token for one", in)
			}
		}
	})
}

func TestWhoIsNotLetIn(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		over := c.joinToken(`{"ttl":60}`)
		elsewhere := c.joinToken(`{"region":"us-east"}`)
		time.Sleep(time.Minute)
		for name, token := range map[string]string{
			"wrong@eu-west":  "join-0123456789abcdefghijklmnop",
			"region@eu-west": elsewhere,
			"late@eu-west":   over,
		} {
			c.joining(name, token)
		}
		time.Sleep(time.Minute)
		for _, id := range []string{"wrong", "region", "late"} {
			if got := c.get("http://" + id + "-ops/readyz"); got.ok() || !strings.Contains(got.body, "no valid join token") {
				t.Errorf("%s: /readyz says %v", id, got)
			}
			if got := c.try("GET", "/admin/nodes/"+id, ""); got.status != 404 {
				t.Errorf("%s is a node: %v", id, got)
			}
		}
		c.joining("right@us-east", elsewhere)
		c.ready("right")
	})
}

func TestANodeWhoseControlPlaneWasSetUpAnewNamesTheFolderToRemove(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.stopControl()
		if err := os.RemoveAll(filepath.Join(c.dir, "control")); err != nil {
			t.Fatal(err)
		}
		c.startControl()
		time.Sleep(time.Minute)
		folder := filepath.Join(c.dir, "eu-1")
		if got := c.get("http://eu-1-ops/readyz"); !strings.Contains(got.body, "remove the folder "+folder) {
			t.Errorf("/readyz says %v", got)
		}
		c.stopNode("eu-1")
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		c.startNode("eu-1@eu-west")
		c.ready("eu-1")
	})
}

// A twin is a copy of a node's folder that somebody starts elsewhere.
func TestOfTwinsTheOlderStopsAlsoIfItComesBackLater(t *testing.T) {
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("older one cut off %v", behind), func(t *testing.T) {
			bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
				c.ready("eu-1")
				c.addKey(secret(0), fakellm.Behaviour{})
				token := c.addToken("twin")
				if behind {
					c.net.sever("eu-1", "control")
					time.Sleep(time.Second)
				}
				copyFolder(t, filepath.Join(c.dir, "eu-1"), filepath.Join(c.dir, "twin"))
				c.startNode("twin@eu-west")
				c.ready("twin")
				if behind {
					c.net.mend("eu-1", "control")
				}
				select {
				case err := <-c.nodes["eu-1"].done:
					if err == nil || !strings.Contains(err.Error(), "fenced") {
						t.Errorf("the older one ended with %v", err)
					}
					delete(c.nodes, "eu-1")
				case <-time.After(time.Minute):
					t.Error("the older one goes on")
				}
				if got := c.chat("twin", token, "r1", false); !got.ok() {
					t.Errorf("the younger one answers %v", got)
				}
			})
		})
	}
}

func TestACertificateOutlivesAnOutageAndAnExpiredOneNeedsAToken(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		c.joining("eu-1@eu-west", c.joinToken(`{}`))
		c.ready("eu-1")
		// Both planes stop for so long, so that the time in between costs the test nothing; the node has no token left.
		for _, away := range []time.Duration{6*24*time.Hour + 12*time.Hour, 4 * 24 * time.Hour} {
			c.stopNode("eu-1")
			c.stopControl()
			time.Sleep(away)
			c.startControl()
			c.joining("eu-1@eu-west", "")
			c.ready("eu-1")
			time.Sleep(10 * time.Second) // past half of its life it is renewed at once, not after a session that may be short
		}
		c.stopNode("eu-1")
		c.stopControl()
		time.Sleep(8 * 24 * time.Hour)
		c.startControl()
		c.joining("eu-1@eu-west", "")
		time.Sleep(time.Minute)
		if got := c.get("http://eu-1-ops/readyz"); got.ok() || !strings.Contains(got.body, "no join token") {
			t.Errorf("with an expired certificate /readyz says %v", got)
		}
		c.stopNode("eu-1")
		c.joining("eu-1@eu-west", c.joinToken(`{}`))
		c.ready("eu-1")
	})
}
