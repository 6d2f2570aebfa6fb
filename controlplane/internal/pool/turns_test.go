package pool_test

import (
	"fmt"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func (f *fleet) probed(from pool.NodeID, key pool.KeyID, r pool.Reason) {
	f.signal(from, pool.Signal{Key: key, Reason: r, Probe: true})
	f.save()
}

// A key that waits for a limit is rejected by one node's wrong word. When that is refuted, the limit still holds.
func TestARefutedRejectionEndsNoCoolDown(t *testing.T) {
	for _, group := range []bool{false, true} {
		f := newFleet(t, 3, "a", "b")
		if group {
			f.group(3)
		}
		f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
		f.signal("b", pool.Signal{Key: 1, Reason: pool.AuthRejected})
		f.wantStatus(1, pool.StatusSuspect, "auth_rejected")
		f.probed(f.asked(1), 1, pool.Recovered)
		f.wantStatus(1, pool.StatusCooling, "rate_limited")
		if f.nodes["a"].uses(1) || f.nodes["b"].uses(1) {
			t.Error("a key is used before the time that the upstream named")
		}
		f.pass(time.Minute)
		who, about := f.asking(3)
		if len(who) != 1 {
			t.Fatalf("%v are asked about %v", who, about)
		}
		f.probed(who[0], about[0], pool.Recovered)
		f.wantStatus(1, pool.StatusActive, "")
	}
}

// A limit that is met with a key while it is suspected bars its account, and the key itself once it is cleared.
func TestALimitMetWithASuspectKeyHoldsForItsAccount(t *testing.T) {
	f := newFleet(t, 3, "a", "b")
	f.group(2)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	f.signal("b", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	f.wantStatus(2, pool.StatusCooling, "rate_limited")
	f.wantStatus(3, pool.StatusActive, "")
	f.probed(f.asked(1), 1, pool.Recovered)
	f.wantStatus(1, pool.StatusCooling, "rate_limited")
}

// A key that is moved into an account by an edit, with no new generation, waits for what that waits for.
func TestAKeyThatJoinsAnAccountWaitsWithIt(t *testing.T) {
	f := newFleet(t, 3, "a", "b")
	f.group(2)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	v, _ := f.pool.KeyView(3)
	v.Key.Group = "account"
	f.apply(pool.Change{Key: &v.Key})
	f.wantStatus(3, pool.StatusCooling, "rate_limited")
	for name, n := range f.nodes {
		if n.uses(3) {
			t.Errorf("node %s uses it", name)
		}
	}
	saved := f.pool.Unsaved()
	held := map[pool.KeyID]bool{}
	for _, h := range saved {
		held[h.Key] = h.Phase == pool.Cooling
	}
	if !held[1] || !held[2] || !held[3] {
		t.Errorf("what is to be saved does not hold the account's wait: %v", saved)
	}
}

// A cool-down of an account outlives the control plane: it is stored with each of its keys.
func TestAnAccountsWaitOutlivesTheControlPlane(t *testing.T) {
	f := newFleet(t, 3, "a")
	f.group(3)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.QuotaExhausted, RetryAfter: 48 * time.Hour})
	stored := f.pool.Unsaved()
	var config []pool.Change
	for id := range 3 {
		v, _ := f.pool.KeyView(pool.KeyID(id + 1))
		config = append(config, pool.Change{Key: &v.Key, Revision: uint64(id + 1)})
	}
	next := pool.New(pool.Config{Start: f.now, Term: 2})
	next.Load(f.now.Add(time.Second), config, stored)
	for id := range 3 {
		v, _ := next.KeyView(pool.KeyID(id + 1))
		if v.Health.Phase != pool.Cooling || !v.Health.Until.Equal(f.now.Add(48*time.Hour)) {
			t.Errorf("key %d is %+v after a restart", id+1, v.Health)
		}
	}
}

// A node whose way out is broken can answer no probe. Others are asked in its place, for as long as there are others.
func TestAProbeThatTaughtNothingIsPutToAnotherNode(t *testing.T) {
	for _, why := range []pool.Reason{pool.RateLimited, pool.AuthRejected} {
		for key := range pool.KeyID(3) {
			f := newFleet(t, 3, "a", "b", "c")
			f.signal("a", pool.Signal{Key: key + 1, Reason: why, RetryAfter: time.Minute})
			if why == pool.RateLimited {
				f.pass(time.Minute)
			}
			broken := f.asked(key + 1)
			f.probed(broken, key+1, pool.LocalError)
			f.pass(31 * time.Second)
			if next := f.asked(key + 1); next == broken || next == "" {
				t.Errorf("%v of key %d: %q is asked again after it could not tell", why, key+1, next)
			}
		}
	}
}

// What a probe finds that nobody accused the key of is an accusation, not a confirmation.
func TestARejectionMetByAProbeIsConfirmedByAnotherNode(t *testing.T) {
	f := newFleet(t, 3, "a", "b", "c")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	f.pass(time.Minute)
	first := f.asked(1)
	f.probed(first, 1, pool.AuthRejected)
	f.wantStatus(1, pool.StatusSuspect, "auth_rejected")
	second := f.asked(1)
	if second == first || second == "" {
		t.Fatalf("%q is asked after %q", second, first)
	}
	f.probed(second, 1, pool.AuthRejected)
	f.wantStatus(1, pool.StatusAutoDisabled, "auth_rejected")
}

// Hundreds of keys are due at once. A provider is asked about few at a time, whatever they are out for, and the next turn
// comes as soon as an answer has.
func TestManyKeysAreAskedAboutInTurnsWithoutPauses(t *testing.T) {
	const keys = 400
	for _, why := range []pool.Reason{pool.RateLimited, pool.AuthRejected} {
		t.Run(why.String(), func(t *testing.T) {
			nodes := []pool.NodeID{"a", "b", "c", "d", "e"}
			f := newFleet(t, keys, nodes...)
			for id := range pool.KeyID(keys) {
				f.signal(nodes[id%5], pool.Signal{Key: id + 1, Reason: why, RetryAfter: time.Minute})
			}
			if why == pool.RateLimited {
				f.pass(time.Minute)
			}
			answer, end := pool.Recovered, pool.StatusActive
			if why == pool.AuthRejected {
				answer, end = pool.AuthRejected, pool.StatusAutoDisabled
			}
			most, asked, ended := 0, 0, 0
			for range 60 {
				who, about := f.asking(keys)
				most, asked = max(most, len(who)), asked+len(who)
				for i, id := range about {
					f.signal(who[i], pool.Signal{Key: id, Reason: answer, Probe: true})
				}
				f.save()
				f.pass(time.Second)
			}
			for id := range pool.KeyID(keys) {
				if s, _ := f.status(id + 1); s == end {
					ended++
				}
			}
			if most > 16 || asked < keys || ended != keys || (why == pool.RateLimited && asked != keys) {
				t.Errorf("at most %d at a time, %d probes for %d keys, %d of them done in a minute", most, asked, keys, ended)
			}
		})
	}
}

// Nodes that hear nothing more end a cool-down by themselves. Keys that wait for their turn are therefore told of in time.
func TestKeysThatWaitForTheirTurnAreNotOpenedByNodes(t *testing.T) {
	f := newFleet(t, 40, "a", "b")
	for id := range pool.KeyID(40) {
		f.signal("a", pool.Signal{Key: id + 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	}
	heard := map[string]time.Time{} // until when a node keeps a key out by itself
	for second := range 150 {       // nobody answers
		for name, n := range f.nodes {
			for id := range pool.KeyID(40) {
				at := fmt.Sprint(name, id+1)
				if st, told := n.state[id+1]; told {
					heard[at] = f.now.Add(st.OpenFor)
					delete(n.state, id+1)
				}
				if !f.now.Before(heard[at]) {
					t.Fatalf("after %d s node %s opens key %d by itself", second, name, id+1)
				}
			}
		}
		f.pass(time.Second)
	}
}

// A provider rejects everybody for two minutes. Nobody is put away for an hour, those rejected first neither; and as soon as
// one key is taken again, all others are asked about.
func TestAfterAnOutageOfTheProvidersLoginAllKeysAreBackWithinSeconds(t *testing.T) {
	const keys = 40
	f := newFleet(t, keys, "a", "b")
	all := make([]pool.KeyID, keys)
	for i := range all {
		all[i] = pool.KeyID(i + 1)
	}
	f.serve(all...)
	out := func() (n int) {
		for _, id := range all {
			if s, _ := f.status(id); s != pool.StatusActive {
				n++
			}
		}
		return n
	}
	answer := func(r pool.Reason) (n int) {
		who, about := f.asking(keys)
		for i, id := range about {
			f.probed(who[i], id, r)
		}
		return len(who)
	}
	for _, id := range all {
		f.signal("a", pool.Signal{Key: id, Reason: pool.AuthRejected})
		answer(pool.AuthRejected)
		f.pass(time.Second)
	}
	probes := 0
	for range 80 {
		probes += answer(pool.AuthRejected)
		f.pass(time.Second)
	}
	if out() != keys || probes > 5*keys {
		t.Errorf("%d of %d keys are out, %d probes in 80 s", out(), keys, probes)
	}
	for range 35 { // it is over
		answer(pool.Recovered)
		f.pass(time.Second)
	}
	if out() != 0 {
		t.Errorf("%d keys are still out 35 s after the provider's recovery", out())
	}
}

// A few keys that are dead are no outage of the provider, however little else is asked of it: most of its keys serve.
func TestAFewDeadKeysAreNotTakenForAnOutage(t *testing.T) {
	f := newFleet(t, 20, "a", "b")
	f.serve(4, 5, 6, 7, 8, 9, 10)
	f.pass(20 * time.Second)
	for id := range pool.KeyID(3) {
		f.signal("a", pool.Signal{Key: id + 1, Reason: pool.AuthRejected})
		f.probed(f.asked(id+1), id+1, pool.AuthRejected)
	}
	for id := range pool.KeyID(3) {
		if wait := f.health(id + 1).Until.Sub(f.now); wait < 59*time.Minute {
			t.Errorf("key %d is asked about again in %v", id+1, wait)
		}
	}
}

// It is said once when a node is not believed any more, once when it is again.
func TestThatANodeIsNotBelievedIsSaidOnce(t *testing.T) {
	var said []string
	f := newFleet(t, 0)
	f.pool = pool.New(pool.Config{Start: start, Term: 1, Jitter: func() float64 { return 1 }, Distrusted: func(n pool.NodeID, is bool) {
		said = append(said, fmt.Sprint(n, " ", is))
	}})
	f.nodes = map[pool.NodeID]*hand{}
	p := pool.Provider{ID: "ollama", BaseURL: "https://ollama.com", Enabled: true}.WithDefaults()
	f.apply(pool.Change{Provider: &p})
	for id := range pool.KeyID(20) {
		f.addKey(id + 1)
	}
	f.join("liar", "eu")
	f.join("b", "eu")
	for id := range pool.KeyID(10) {
		f.signal("liar", pool.Signal{Key: id + 1, Reason: pool.AuthRejected})
		who, about := f.asking(20)
		for i, k := range about {
			f.probed(who[i], k, pool.Recovered)
		}
		f.pass(time.Second)
	}
	f.pass(30 * time.Second)
	f.signal("liar", pool.Signal{Key: 9, Reason: pool.AuthRejected})
	f.probed("b", 9, pool.AuthRejected)
	if fmt.Sprint(said) != "[liar true liar false]" {
		t.Errorf("said %v", said)
	}
}

// Some upstreams answer no cheap question at all. Their keys come back after their limits nonetheless.
func TestACoolDownEndsThoughNoProbeTeachesAnything(t *testing.T) {
	f := newFleet(t, 3, "a", "b")
	f.group(2)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	f.pass(time.Minute)
	probes := 0
	for range 30 {
		who, about := f.asking(3)
		for i, id := range about {
			probes++
			f.probed(who[i], id, pool.LocalError)
		}
		f.pass(time.Second)
	}
	for id := range pool.KeyID(3) {
		f.wantStatus(id+1, pool.StatusActive, "")
	}
	if probes != 3 {
		t.Errorf("%d probes", probes)
	}
}

// Without a hint the waits of an account double, whichever of its keys meets the next limit.
func TestTheRowOfLimitsIsTheAccounts(t *testing.T) {
	f := newFleet(t, 5, "a")
	f.group(5)
	for i, want := range []time.Duration{5, 10, 20, 40} {
		key := pool.KeyID(i + 1)
		f.signal("a", pool.Signal{Key: key, Reason: pool.RateLimited})
		if got := f.health(key).Until.Sub(f.now); got != want*time.Second {
			t.Fatalf("limit %d in a row: waits %v, want %v", i+1, got, want*time.Second)
		}
		f.pass(want * time.Second)
		_, about := f.asking(5)
		f.probed("a", about[0], pool.Recovered)
	}
}

// The control plane has just started, and its nodes are not back yet: what is due waits for them, or they would all use it at once.
func TestAfterARestartKeysAreAskedAboutWhenNodesAreBack(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: 10 * time.Second})
	stored := f.pool.Unsaved()
	v, _ := f.pool.KeyView(1)
	p := pool.Provider{ID: "ollama", BaseURL: "https://ollama.com", Enabled: true}.WithDefaults()
	f.now = f.now.Add(10 * time.Second)
	f.pool = pool.New(pool.Config{Start: f.now, Term: 2})
	f.pool.Load(f.now, []pool.Change{
		{Provider: &p, Revision: 1}, {Key: &v.Key, Revision: 2}, {Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 1}, Revision: 3},
	}, stored)
	delete(f.nodes, "a")
	f.rev = 3
	f.pass(5 * time.Second)
	f.wantStatus(1, pool.StatusCooling, "rate_limited")
	f.join("a", "eu")
	f.pass(time.Second)
	if got := f.asked(1); got != "a" {
		t.Errorf("%q is asked", got)
	}
	f.probed("a", 1, pool.Recovered)
	f.wantStatus(1, pool.StatusActive, "")
}

// And if none comes back within its lease, it ends by itself.
func TestAfterARestartWithoutNodesACoolDownEndsByItself(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: 10 * time.Second})
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	delete(f.nodes, "a")
	f.pass(59 * time.Second)
	f.wantStatus(1, pool.StatusCooling, "rate_limited")
	f.pass(2 * time.Second)
	f.wantStatus(1, pool.StatusActive, "")
}

// Whatever else is told of a key meanwhile, its probe is asked for once.
func TestAProbeIsAskedForOnce(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	for range 3 {
		v, _ := f.pool.KeyView(1)
		k := v.Key.Disable(f.now, "over already")
		f.apply(pool.Change{Key: &k})
	}
	asked := 0
	for _, n := range f.nodes {
		asked += len(n.probes)
	}
	if asked != 1 {
		t.Errorf("asked for %d probes", asked)
	}
}

// A node that is not believed answers a probe no better than it reports.
func TestANodeThatIsNotBelievedConfirmsNothing(t *testing.T) {
	f := newFleet(t, 6, "liar", "b")
	for id := range pool.KeyID(3) {
		f.signal("liar", pool.Signal{Key: id + 1, Reason: pool.AuthRejected})
		f.probed("b", id+1, pool.Recovered)
	}
	f.pool.Detach(f.now, f.nodes["b"].session, true, nil) // it alone is left
	delete(f.nodes, "b")
	f.signal("liar", pool.Signal{Key: 4, Reason: pool.RateLimited, RetryAfter: time.Minute}) // its own affair
	f.wantStatus(4, pool.StatusActive, "")
	f.pass(31 * time.Second)
	f.signal("liar", pool.Signal{Key: 5, Reason: pool.AuthRejected}) // nobody can look into it
	f.wantStatus(5, pool.StatusActive, "")
}

// A node's way out breaks, and it reports everything at once, before any probe can have answered: five keys are out on its word,
// not more. If it is right, the others follow.
func TestFewKeysAreOutOnOneNodesWord(t *testing.T) {
	const keys = 40
	for _, right := range []bool{false, true} {
		f := newFleet(t, keys, "liar", "b", "c")
		for id := range pool.KeyID(keys) {
			f.signal("liar", pool.Signal{Key: id + 1, Reason: pool.AuthRejected})
		}
		suspects := func() (n int) {
			for id := range pool.KeyID(keys) {
				if s, _ := f.status(id + 1); s == pool.StatusSuspect {
					n++
				}
			}
			return n
		}
		worst, probes := suspects(), 0
		for range 30 {
			who, about := f.asking(keys)
			for i, id := range about {
				probes++
				if right {
					f.probed(who[i], id, pool.AuthRejected)
				} else {
					f.probed(who[i], id, pool.Recovered)
				}
			}
			f.pass(time.Second)
			worst = max(worst, suspects())
		}
		off := 0
		for id := range pool.KeyID(keys) {
			if s, _ := f.status(id + 1); s == pool.StatusAutoDisabled {
				off++
			}
		}
		switch {
		case worst > 5:
			t.Errorf("%d keys were out on one node's word", worst)
		case right && off != keys:
			t.Errorf("it was right: %d of %d keys are off", off, keys)
		case !right && (off != 0 || probes > 5):
			t.Errorf("it was wrong: %d keys are off, %d probes", off, probes)
		}
	}
}
