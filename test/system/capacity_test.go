package system

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dataplane "ollama-api-pool/dataplane/server"
	"ollama-api-pool/test/fakellm"
)

// offered is how a story's load is spread over the nodes.
type offered struct {
	name  string
	share func(node, nodes int, since time.Duration) float64 // adds up to 1
}

var (
	evenly = offered{"even", func(_, nodes int, _ time.Duration) float64 { return 1 / float64(nodes) }}
	skewed = offered{"90/10", func(node, nodes int, _ time.Duration) float64 { return mostly(node == 0, nodes) }}
	// moving is skewed, and it is another node's turn every 40 seconds: capacity has to follow.
	moving = offered{"moving", func(node, nodes int, since time.Duration) float64 {
		return mostly(node == int(since/(40*time.Second))%nodes, nodes)
	}}
)

func mostly(this bool, nodes int) float64 {
	if this {
		return 0.9
	}
	return 0.1 / float64(nodes-1)
}

// throng asks every node, as often as it is told, until it is stopped; requests wait for nobody.
type throng struct {
	c      *cluster
	token  string
	served atomic.Int64
	asked  atomic.Int64
	stop   chan struct{}
	wg     sync.WaitGroup
}

func (c *cluster) throng(token string, nodes []string, perSecond float64, how offered) *throng {
	cr := &throng{c: c, token: token, stop: make(chan struct{})}
	begin := time.Now()
	for i, node := range nodes {
		rate := func() float64 { return perSecond * how.share(i, len(nodes), time.Since(begin)) }
		cr.wg.Go(func() { cr.ask(node, rate, rand.New(rand.NewPCG(uint64(i), 7))) })
	}
	return cr
}

func (cr *throng) ask(node string, rate func() float64, r *rand.Rand) {
	for n := 0; ; n++ {
		select {
		case <-time.After(time.Duration(r.ExpFloat64() / rate() * float64(time.Second))):
		case <-cr.stop:
			return
		}
		cr.wg.Go(func() {
			cr.asked.Add(1)
			if cr.c.chat(node, cr.token, fmt.Sprint(node, "-", n), false).ok() {
				cr.served.Add(1)
			}
		})
	}
}

func (cr *throng) end() {
	close(cr.stop)
	cr.wg.Wait()
}

// hardKeys adds keys with a hard limit on requests by the minute, and answers their secrets.
func (c *cluster) hardKeys(n, perMinute int) []string {
	c.t.Helper()
	var all []string
	for i := range n {
		c.behave(secret(i), fakellm.Behaviour{})
		c.admin("POST", "/admin/api-keys", fmt.Sprintf(
			`{"apiKey":%q,"limits":{"requestsPerMinute":%d,"policy":"hard"}}`, secret(i), perMinute), nil)
		all = append(all, secret(i))
	}
	return all
}

func nodeNames(n int) (names, places []string) {
	for i := range n {
		names = append(names, fmt.Sprint("n", i))
		places = append(places, fmt.Sprintf("n%d@eu", i))
	}
	return names, places
}

// overRate judges by what the upstream saw.
func overRate(ledger []fakellm.Entry, secrets []string, perMinute int) (found []string) {
	for _, s := range secrets {
		found = append(found, fakellm.OverRate(ledger, s, perMinute)...)
	}
	return found
}

// used answers how much of the keys' capacity was used from one moment to another.
func used(ledger []fakellm.Entry, keys, perMinute int, from, to time.Time) float64 {
	n := 0
	for _, e := range ledger {
		if strings.HasSuffix(e.Path, "/chat/completions") && !e.Probe && e.Start.After(from) && e.Start.Before(to) {
			n++
		}
	}
	return float64(n) / (float64(keys*perMinute) * to.Sub(from).Minutes())
}

// fleetSize is how large a story of capacity is.
type fleetSize struct{ keys, nodes, perMinute, minutes int }

// TestLimitsHoldOverTheFleet offers five times of what keys may take to a fleet of which nodes and the control plane are cut off
// and killed. No window of sixty seconds may see more than the limit at any key.
func TestLimitsHoldOverTheFleet(t *testing.T) {
	for _, how := range []offered{evenly, skewed, moving} {
		t.Run(how.name, func(t *testing.T) {
			over, calm := limitsHold(t, how, fleetSize{keys: 10, nodes: 4, perMinute: 30, minutes: 4})
			for _, v := range over[:min(len(over), 10)] {
				t.Error(v)
			}
			if calm < 0.8 && how.name != moving.name {
				t.Errorf("only %.1f %% of the capacity is used", 100*calm)
			}
		})
	}
}

// The same with fifty keys at eight nodes for ten minutes.
func TestRandomLimitsHoldOverALargeFleet(t *testing.T) {
	if os.Getenv("APIPOOL_TEST_FAULTS") == "" {
		t.Skip("one of the longer suites: make test-faults")
	}
	for _, how := range []offered{evenly, skewed, moving} {
		t.Run(how.name, func(t *testing.T) {
			over, calm := limitsHold(t, how, fleetSize{keys: 50, nodes: 8, perMinute: 60, minutes: 10})
			for _, v := range over[:min(len(over), 10)] {
				t.Error(v)
			}
			if calm < 0.8 && how.name != moving.name {
				t.Errorf("only %.1f %% of the capacity is used", 100*calm)
			}
		})
	}
}

// The control: if permits move before they have rested, so that a share that grows is full at once, the same story must show it.
func TestLimitsDoNotHoldWithoutRest(t *testing.T) {
	if over, _ := limitsHold(t, moving, fleetSize{keys: 10, nodes: 4, perMinute: 30, minutes: 4}, func(c *dataplane.Config) { c.WithoutRest = true }); len(over) == 0 {
		t.Error("the judge of limits sees nothing")
	}
}

// limitsHold answers the requests that were too many for a key, by what the upstream saw, and how much of the capacity was used in
// the second minute, before anything failed.
func limitsHold(t *testing.T, how offered, s fleetSize, change ...func(*dataplane.Config)) (over []string, calm float64) {
	t.Helper()
	names, places := nodeNames(s.nodes)
	bubble(t, nil, func(c *cluster) {
		for _, f := range change {
			c.changeDP = f
		}
		for i, n := range names {
			c.startNode(places[i])
			c.ready(n)
		}
		secrets := c.hardKeys(s.keys, s.perMinute)
		token := c.addToken("throng")
		c.admin("PATCH", "/admin/providers/ollama", `{"failover":{"patience":0}}`, nil)
		cr := c.throng(token, names, 5*float64(s.keys*s.perMinute)/60, how)
		begin := time.Now()
		time.Sleep(2 * time.Minute)
		calm = used(c.upstream.Ledger(), s.keys, s.perMinute, begin.Add(time.Minute), time.Now())
		c.disturb(names, places, (s.minutes-2)*2)
		cr.end()
		ledger := c.upstream.Ledger()
		over = overRate(ledger, secrets, s.perMinute)
		all := used(ledger, s.keys, s.perMinute, begin.Add(time.Minute), time.Now())
		t.Logf("limits, %s load: %d of %d requests over a limit; %.1f %% of the capacity used in the calm, %.1f %% with faults (%d keys of %d/min, %d nodes, %d min)",
			how.name, len(over), len(ledger), 100*calm, 100*all, s.keys, s.perMinute, s.nodes, s.minutes)
	})
	return over, calm
}

// disturb cuts nodes off, kills nodes and restarts the control plane, half a minute each time.
func (c *cluster) disturb(names, places []string, times int) {
	r := rand.New(rand.NewPCG(3, uint64(len(names))))
	for range times {
		i := r.IntN(len(names))
		switch r.IntN(3) {
		case 0:
			c.net.sever(names[i], "control")
			time.Sleep(20 * time.Second)
			c.net.mend(names[i], "control")
			time.Sleep(10 * time.Second)
		case 1: // it has forgotten who holds what
			c.stopControl()
			time.Sleep(2 * time.Second)
			c.startControl()
			time.Sleep(28 * time.Second)
		default:
			c.net.sever(names[i], "control") // it cannot say what it had
			c.stopNode(names[i])
			c.net.mend(names[i], "control")
			c.startNode(places[i])
			time.Sleep(30 * time.Second)
		}
	}
}

// A token's budget is spent to the last request, and not beyond, however many nodes are asked at once.
func TestABudgetIsSpentExactly(t *testing.T) {
	names, places := nodeNames(8)
	bubble(t, places, func(c *cluster) {
		for _, n := range names {
			c.ready(n)
		}
		c.addKey(secret(0), fakellm.Behaviour{})
		const budget = 1000
		var made struct{ Token string }
		c.admin("POST", "/admin/tokens", fmt.Sprintf(`{"name":"budget","budget":{"requestsPerDay":%d}}`, budget), &made)
		var served, refused atomic.Int64
		var wg sync.WaitGroup
		for i, n := range names {
			for w := range 4 {
				wg.Go(func() {
					for k := range 60 { // 1,920 in all
						switch a := c.chat(n, made.Token, fmt.Sprint(i, "-", w, "-", k), false); {
						case a.ok():
							served.Add(1)
						case a.status == 429 && strings.Contains(a.body, "insufficient_quota"):
							refused.Add(1)
						default:
							t.Errorf("neither served nor over the budget: %v", a)
						}
					}
				})
			}
		}
		wg.Wait()
		c.settle()
		seen := 0
		for _, e := range c.upstream.Ledger() {
			if strings.HasSuffix(e.Path, "/chat/completions") && !e.Probe {
				seen++
			}
		}
		t.Logf("budget: %d of %d served, %d at the upstream, %d refused, by 8 nodes", served.Load(), budget, seen, refused.Load())
		if served.Load() != budget || seen != budget {
			t.Errorf("%d were served and %d came to the upstream, of a budget of %d", served.Load(), seen, budget)
		}
		c.stopControl() // what was given out is known after a restart
		c.startControl()
		time.Sleep(2 * time.Minute)
		for _, n := range names {
			if a := c.chat(n, made.Token, "late-"+n, false); a.status != 429 {
				t.Errorf("after the restart %s: %v", n, a)
			}
		}
	})
}

// Requests at the same time: never more than the plan allows, however the nodes that run them die.
func TestRequestsAtTheSameTimeOverTheFleet(t *testing.T) {
	for _, most := range []int{1, 3, 10} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			names, places := nodeNames(4)
			bubble(t, places, func(c *cluster) {
				for _, n := range names {
					c.ready(n)
				}
				c.behave(secret(0), fakellm.Behaviour{Delay: 700 * time.Millisecond})
				c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"limits":{"maxConcurrent":%d,"policy":"hard"}}`, secret(0), most), nil)
				cr := c.throng(c.addToken("throng"), names, 4*float64(most), evenly)
				time.Sleep(time.Minute)
				c.disturb(names, places, 4)
				before := cr.served.Load()
				time.Sleep(90 * time.Second) // the leases of whoever is gone are over
				late := cr.served.Load() - before
				cr.end()
				over := fakellm.OverConcurrency(c.upstream.Ledger(), secret(0), most)
				for _, v := range over[:min(len(over), 10)] {
					t.Error(v)
				}
				t.Logf("concurrency %d: %d of %d requests over the limit; %d served in the last 90 s of a capacity of %.0f", most, len(over), len(c.upstream.Ledger()),
					late, float64(most)*90/0.7)
				if float64(late) < float64(most)*90/0.7/2 {
					t.Errorf("slots are lost: only %d were served in 90 s", late)
				}
			})
		})
	}
}
