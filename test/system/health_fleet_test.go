package system

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

// afterFirstLimit answers what was sent with any of the keys, probes apart, after the upstream first refused one of them and before a
// time has passed from then on: in the order in which it came, as a request tries its keys within a moment.
func afterFirstLimit(ledger []fakellm.Entry, secrets []string, within time.Duration) (sent []fakellm.Entry) {
	from := firstLimit(ledger, secrets)
	begun := false
	for _, e := range ledger {
		switch {
		case !slices.Contains(secrets, e.Key) || e.Probe || !strings.HasSuffix(e.Path, "/chat/completions"):
		case begun && e.Start.Before(from.Add(within)):
			sent = append(sent, e)
		case e.Status == http.StatusTooManyRequests:
			begun = true
		}
	}
	return sent
}

// firstLimit answers when the upstream first refused one of the keys.
func firstLimit(ledger []fakellm.Entry, secrets []string) time.Time {
	for _, e := range ledger {
		for _, s := range secrets {
			if e.Key == s && e.Status == http.StatusTooManyRequests {
				return e.End
			}
		}
	}
	return time.Time{}
}

// Five keys of one account, whose provider counts them together: after the first refusal none of them is used before the reset, not
// by a node either that starts meanwhile, nor after a restart of the control plane. Without the group, which is the control, each
// key meets the limit by itself.
func TestAnAccountWaitsTogether(t *testing.T) {
	for group, quiet := range map[string]bool{"account": true, "": false} {
		names, places := nodeNames(3)
		bubble(t, places, func(c *cluster) {
			for _, n := range names {
				c.ready(n)
			}
			var secrets []string
			for i := range 5 {
				secrets = append(secrets, secret(i))
				c.behave(secret(i), fakellm.Behaviour{})
				c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"group":%q}`, secret(i), group), nil)
			}
			token := c.addToken("account")
			for n := range 10 {
				c.chat(names[n%3], token, fmt.Sprint("q", n), false)
			}
			all := map[string]fakellm.Behaviour{}
			for _, s := range secrets {
				all[s] = fakellm.Behaviour{Status: 429, RetryAfter: "60", CoolUntilRetryAfter: true, Account: "theirs"}
			}
			if err := c.upstream.SetKeys(all); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for n := 0; time.Since(begin) < 58*time.Second; n++ {
				switch n {
				case 100:
					c.stopControl()
					c.startControl()
				case 200:
					c.stopNode("n1")
					c.startNode(places[1])
				}
				c.chat(names[n%3], token, fmt.Sprint("r", n), false)
				time.Sleep(100 * time.Millisecond)
			}
			used := afterFirstLimit(c.upstream.Ledger(), secrets, 59*time.Second)
			t.Logf("group %q: %d requests between the first refusal and the reset", group, len(used))
			if (len(used) == 0) != quiet {
				t.Errorf("group %q: after the first refusal %d requests were sent", group, len(used))
			}
			time.Sleep(30 * time.Second)
			for n := range 9 {
				if got := c.chat(names[n%3], token, fmt.Sprint("s", n), false); quiet && !got.ok() {
					t.Errorf("after the reset: %v", got)
				}
			}
		})
	}
}

// A popular key at twelve nodes: when its cool-down is over the upstream sees one probe, and only after its answer anything else.
// The control is a fleet whose nodes hear nothing of the control plane, and end it by themselves: many come before anybody asks.
func TestOneProbeBeforeAPopularKeyIsOpenAgain(t *testing.T) {
	for _, heard := range []bool{true, false} {
		names, places := nodeNames(12)
		bubble(t, places, func(c *cluster) {
			for _, n := range names {
				c.ready(n)
			}
			c.behave(secret(0), fakellm.Behaviour{})
			c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), nil)
			cr := c.throng(c.addToken("throng"), names, 20, evenly)
			time.Sleep(5 * time.Second)
			c.behave(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "30", CoolUntilRetryAfter: true})
			time.Sleep(20 * time.Second)
			for _, n := range names {
				if !heard {
					c.net.sever(n, "control")
				}
			}
			time.Sleep(map[bool]time.Duration{true: 20 * time.Second, false: 60 * time.Second}[heard])
			cr.end()
			for _, n := range names {
				c.net.mend(n, "control")
			}
			c.settle()
			ledger := c.upstream.Ledger()
			refused := firstLimit(ledger, []string{secret(0)})
			if refused.IsZero() {
				t.Fatal("the upstream never refused the key")
			}
			probes, early, late := judgeReentry(ledger, secret(0), refused.Add(10*time.Millisecond), refused.Add(30*time.Second))
			t.Logf("re-entry: %d probe, %d requests before its answer, %d after it (12 nodes, control plane near: %v)", probes, early, late, heard)
			if heard && (probes != 1 || early != 0 || late == 0) {
				t.Errorf("%d probes, %d requests before the answer, %d after it", probes, early, late)
			}
			if !heard && early < len(names) {
				t.Errorf("nodes that hear nothing sent %d requests: they do not end a cool-down by themselves, or the judge is blind", early)
			}
		})
	}
}

// judgeReentry counts what came with the key after a refusal: probes until the first good answer to one, and requests before and after
// that answer.
func judgeReentry(ledger []fakellm.Entry, key string, refused, reset time.Time) (probes, early, late int) {
	var open time.Time
	for _, e := range ledger {
		switch {
		case e.Key != key || e.Start.Before(refused):
		case e.Probe && open.IsZero():
			probes++
			if e.Start.Before(reset.Add(-time.Second)) {
				early++ // nobody may even ask before the time that the upstream named
			}
			if e.Status != http.StatusTooManyRequests {
				open = e.End
			}
		case e.Probe:
			probes++
		case open.IsZero() || e.Start.Before(open):
			early++
		default:
			late++
		}
	}
	return probes, early, late
}

// An outage of two minutes puts no key out, and full service is back within two seconds of its end.
func TestAnOutageOfTheUpstreamDisablesNoKey(t *testing.T) {
	names, places := nodeNames(2)
	bubble(t, places, func(c *cluster) {
		for _, n := range names {
			c.ready(n)
		}
		for i := range 10 {
			c.addKey(secret(i), fakellm.Behaviour{})
		}
		token := c.addToken("outage")
		each := func(b fakellm.Behaviour) {
			for i := range 10 {
				c.behave(secret(i), b)
			}
		}
		load := func(span time.Duration) (served, asked float64) {
			cr := c.throng(token, names, 50, evenly)
			time.Sleep(span)
			cr.end()
			return float64(cr.served.Load()), float64(cr.asked.Load())
		}
		load(20 * time.Second)
		each(fakellm.Behaviour{Status: 503})
		down := time.Now()
		load(2 * time.Minute)
		late := 0
		for _, e := range c.upstream.Ledger() {
			if e.Start.After(down.Add(20 * time.Second)) {
				late++
			}
		}
		countOut := func() int { return 10 - c.countActive() }
		during := countOut()
		each(fakellm.Behaviour{})
		soon, askedSoon := load(2 * time.Second)
		served, asked := load(10 * time.Second)
		after := countOut()
		t.Logf("outage of 120 s: %d of 10 keys out at its end, %d after it; %.1f requests/s at the upstream of 50 offered; "+
			"%.0f of %.0f served in the first 2 s after it, %.0f of %.0f in the next 10 s",
			during, after, float64(late)/100, soon, askedSoon, served, asked)
		if during+after != 0 || soon < askedSoon/2 || served < 0.99*asked || late > 100*15 {
			t.Errorf("%d and %d keys are out, %d requests came during the outage, %.0f of %.0f served after it", during, after, late, served, asked)
		}
		// The control: when a key fails alone, it is put out, and the count of keys that are out sees it.
		c.behave(secret(3), fakellm.Behaviour{Status: 503})
		load(20 * time.Second)
		if out := countOut(); out != 1 {
			t.Errorf("one key fails alone: %d are out", out)
		}
	})
}

// One node's way to the upstream is broken: everything it sends is rejected there. The others' clients must not feel it, and when it
// is mended the node serves again by itself.
func TestABrokenEgressIsNotBelieved(t *testing.T) {
	names, places := nodeNames(3)
	bubble(t, nil, func(c *cluster) {
		wall := fakellm.New(fakellm.Config{Dialect: fakellm.Ollama}) // knows no key
		mend := c.wall("n0", wall)
		for i, n := range names {
			c.startNode(places[i])
			c.ready(n)
		}
		for i := range 20 {
			c.addKey(secret(i), fakellm.Behaviour{})
		}
		token := c.addToken("egress")
		failed, worst := 0, 0
		for n := range 300 {
			c.chat("n0", token, fmt.Sprint("x", n), false)
			for _, node := range names[1:] {
				if got := c.chat(node, token, fmt.Sprint(node, n), false); !got.ok() {
					failed++
				}
			}
			worst = max(worst, 20-c.countActive())
			time.Sleep(100 * time.Millisecond)
		}
		probes := 0 // each is of a key that was out for the fleet, if only for a moment
		for _, e := range c.upstream.Ledger() {
			if e.Probe {
				probes++
			}
		}
		met := len(wall.Ledger())
		t.Logf("broken egress for 30 s: %d of 600 requests at other nodes failed; it met %d rejections, of which %d were looked into; "+
			"at most %d of 20 keys were out at a time", failed, met, probes, worst)
		if failed != 0 || worst > 5 || probes < 3 || probes > 8 || met < 20 {
			t.Errorf("%d requests at other nodes failed, %d keys were out at a time, %d of %d rejections were looked into", failed, worst, probes, met)
		}
		if !c.distrusts("n0") || c.distrusts("n1") || strings.Count(c.logs.String(), "node is not believed") != 1 {
			t.Error("nobody can see that the node is not believed, or it is said more than once")
		}
		mend()
		time.Sleep(35 * time.Second)
		served := 0
		for n := range 50 {
			if c.chat("n0", token, fmt.Sprint("y", n), false).ok() {
				served++
			}
		}
		if served != 50 {
			t.Errorf("its way is mended: %d of 50 requests served", served)
		}
	})
}

// wall has the node's way to the upstream end at a server of its own, until it is mended. The node is started after it.
func (c *cluster) wall(node string, answers http.Handler) (mend func()) {
	l := c.net.listen("wall")
	web := &http.Server{Handler: answers}
	c.also = append(c.also, web)
	c.wg.Go(func() { _ = web.Serve(l) })
	var mended atomic.Bool
	c.changeDP = func(cfg *dataplane.Config) {
		if cfg.NodeID == node {
			cfg.DialUpstream = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return c.net.dialer(node)(ctx, map[bool]string{true: "upstream", false: "wall"}[mended.Load()])
			}
		}
	}
	return func() {
		mended.Store(true)
		_ = web.Close() // and with it the connections that are open
	}
}

// countActive counts the keys that are in use, as operators see it.
func (c *cluster) countActive() int {
	var list struct{ APIKeys []struct{ Status string } }
	c.admin("GET", "/admin/api-keys?status=active&pageSize=100", "", &list)
	return len(list.APIKeys)
}

// distrusts says whether operators see that a node is not believed.
func (c *cluster) distrusts(node string) bool {
	var list struct {
		Nodes []struct {
			ID         string
			Distrusted bool
		}
	}
	c.admin("GET", "/admin/nodes", "", &list)
	for _, n := range list.Nodes {
		if n.ID == node {
			return n.Distrusted
		}
	}
	c.t.Errorf("there is no node %s", node)
	return false
}

// A key dies: the first rejection takes it out everywhere, another node confirms it by one probe, and it is off. When it is good
// again, the next probe, an hour later, brings it back.
func TestARejectionIsConfirmedOnceByAnotherNode(t *testing.T) {
	names, places := nodeNames(3)
	bubble(t, places, func(c *cluster) {
		for _, n := range names {
			c.ready(n)
		}
		for i := range 10 {
			c.addKey(secret(i), fakellm.Behaviour{})
		}
		dead := secret(4)
		cr := c.throng(c.addToken("dead"), names, 30, evenly)
		time.Sleep(5 * time.Second)
		c.upstream.RemoveKey(dead)
		time.Sleep(30 * time.Second)
		status, reason := c.keyStatus(c.keyOf(dead))
		met, probes := c.usesOf(dead, http.StatusUnauthorized)
		t.Logf("a dead key: %d requests met it, %d probes; %s (%s)", met, probes, status, reason)
		if met < 1 || met > len(names) || probes != 1 || status != "auto_disabled" || reason != "auth_rejected" {
			t.Errorf("%d requests met it at %d nodes, %d probes, it is %s (%s)", met, len(names), probes, status, reason)
		}
		c.behave(dead, fakellm.Behaviour{})
		cr.end()
		time.Sleep(time.Hour)
		if status, _ = c.keyStatus(c.keyOf(dead)); status != "active" {
			t.Errorf("an hour after it is good again it is %s", status)
		}
		if got := cr.asked.Load() - cr.served.Load(); got != 0 {
			t.Errorf("clients saw %d failures", got)
		}
	})
}

// usesOf counts what came with the key and was answered so.
func (c *cluster) usesOf(key string, status int) (requests, probes int) {
	for _, e := range c.upstream.Ledger() {
		switch {
		case e.Key != key || e.Status != status:
		case e.Probe:
			probes++
		default:
			requests++
		}
	}
	return requests, probes
}

// The provider's login fails for two minutes: it rejects every key. Afterwards all keys are back within seconds, none waits for an
// hour, and meanwhile the provider was asked little.
func TestAnOutageOfTheProvidersLoginPutsNoKeyAway(t *testing.T) {
	const keys = 20
	names, places := nodeNames(2)
	bubble(t, places, func(c *cluster) {
		for _, n := range names {
			c.ready(n)
		}
		good := map[string]fakellm.Behaviour{}
		for i := range keys {
			c.addKey(secret(i), fakellm.Behaviour{})
			good[secret(i)] = fakellm.Behaviour{}
		}
		token := c.addToken("login")
		load := func(span time.Duration) (served, asked int64) {
			cr := c.throng(token, names, 30, evenly)
			time.Sleep(span)
			cr.end()
			return cr.served.Load(), cr.asked.Load()
		}
		load(20 * time.Second)
		c.upstream.RemoveAllKeys()
		from := len(c.upstream.Ledger())
		load(2 * time.Minute)
		met := len(c.upstream.Ledger()) - from
		if err := c.upstream.SetKeys(good); err != nil {
			t.Fatal(err)
		}
		time.Sleep(35 * time.Second)
		out := keys - c.countActive()
		served, asked := load(10 * time.Second)
		t.Logf("the provider's login fails for 120 s: %d requests and probes came meanwhile for %d keys; 35 s after it %d keys are out, %d of %d served",
			met, keys, out, served, asked)
		if out != 0 || served != asked || met < keys || met > 10*keys {
			t.Errorf("%d keys are out, %d of %d served, %d requests came during the outage", out, served, asked, met)
		}
	})
}
