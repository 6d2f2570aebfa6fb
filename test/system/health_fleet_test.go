package system

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

// usedBetween answers what was sent with any of the keys, probes apart, from one moment to another.
func usedBetween(ledger []fakellm.Entry, secrets []string, from, to time.Time) (used []fakellm.Entry) {
	for _, e := range ledger {
		for _, s := range secrets {
			if e.Key == s && !e.Probe && strings.HasSuffix(e.Path, "/chat/completions") && e.Start.After(from) && e.Start.Before(to) {
				used = append(used, e)
			}
		}
	}
	return used
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

// Five keys of one account, whose provider counts them together: after the first refusal none of them is used before the reset.
// Without the group, which is the control, the siblings are.
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
			c.behave(secret(2), fakellm.Behaviour{Status: 429, RetryAfter: "60", CoolUntilRetryAfter: true})
			begin := time.Now()
			for n := 0; time.Since(begin) < 50*time.Second; n++ {
				c.chat(names[n%3], token, fmt.Sprint("r", n), false)
				time.Sleep(100 * time.Millisecond)
			}
			from := firstLimit(c.upstream.Ledger(), secrets)
			used := usedBetween(c.upstream.Ledger(), secrets, from.Add(10*time.Millisecond), from.Add(59*time.Second))
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
func TestOneProbeBeforeAPopularKeyIsOpenAgain(t *testing.T) {
	names, places := nodeNames(12)
	bubble(t, places, func(c *cluster) {
		for _, n := range names {
			c.ready(n)
		}
		c.behave(secret(0), fakellm.Behaviour{})
		c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), nil)
		cr := c.throng(c.addToken("throng"), names, 40, evenly)
		time.Sleep(5 * time.Second)
		c.behave(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "30", CoolUntilRetryAfter: true})
		time.Sleep(time.Minute)
		cr.end()
		c.settle()
		ledger := c.upstream.Ledger()
		refused := firstLimit(ledger, []string{secret(0)})
		if refused.IsZero() {
			t.Fatal("the upstream never refused the key")
		}
		probes, early, late := judgeReentry(ledger, secret(0), refused.Add(10*time.Millisecond), refused.Add(30*time.Second))
		t.Logf("re-entry: %d probe, %d requests before its answer, %d after it (12 nodes)", probes, early, late)
		if probes != 1 || early != 0 || late == 0 {
			t.Errorf("%d probes, %d requests before the answer, %d after it", probes, early, late)
		}
		// The control: a ledger in which the probe was an ordinary request is not passed.
		for i := range ledger {
			ledger[i].Probe = false
		}
		if probes, early, _ := judgeReentry(ledger, secret(0), refused.Add(10*time.Millisecond), refused.Add(30*time.Second)); probes == 1 && early == 0 {
			t.Error("the judge passes a fleet that comes back without asking")
		}
	})
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
		each(fakellm.Behaviour{})
		load(2 * time.Second)
		served, asked := load(10 * time.Second)
		out := 0
		for i := range 10 {
			if s, _ := c.keyStatus(c.keyOf(secret(i))); s != "active" {
				out++
			}
		}
		t.Logf("outage of 120 s: %d of 10 keys out; %.1f requests/s at the upstream of 50 offered; %.0f of %.0f served from 2 s after it on",
			out, float64(late)/100, served, asked)
		if out != 0 || served < 0.99*asked || late > 100*15 {
			t.Errorf("%d keys are out, %d requests came during the outage, %.0f of %.0f served after it", out, late, served, asked)
		}
	})
}

// One node's way to the upstream is broken: everything it sends is rejected there. The others' clients must not feel it.
func TestABrokenEgressIsNotBelieved(t *testing.T) {
	names, places := nodeNames(3)
	bubble(t, nil, func(c *cluster) {
		wall := fakellm.New(fakellm.Config{Dialect: fakellm.Ollama}) // knows no key
		l := c.net.listen("wall")
		web := &http.Server{Handler: wall}
		c.also = append(c.also, web)
		c.wg.Go(func() { _ = web.Serve(l) })
		c.changeDP = func(cfg *dataplane.Config) {
			if cfg.NodeID == "n0" {
				cfg.DialUpstream = func(ctx context.Context, _, _ string) (net.Conn, error) { return c.net.dialer("n0")(ctx, "wall") }
			}
		}
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
			out := 0
			for i := range 20 {
				if s, _ := c.keyStatus(c.keyOf(secret(i))); s != "active" {
					out++
				}
			}
			worst = max(worst, out)
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("broken egress: %d of 600 requests at other nodes failed; at most %d of 20 keys were out at a time", failed, worst)
		if failed != 0 || worst > 5 {
			t.Errorf("%d requests at other nodes failed, %d keys were out at a time", failed, worst)
		}
	})
}
