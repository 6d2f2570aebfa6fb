package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// group makes keys 1 to n one account.
func (f *fleet) group(n int) {
	f.t.Helper()
	for id := range n {
		v, _ := f.pool.KeyView(pool.KeyID(id + 1))
		v.Key.Group = "account"
		f.apply(pool.Change{Key: &v.Key})
	}
}

// asking answers who is asked about which of the keys.
func (f *fleet) asking(keys int) (who []pool.NodeID, about []pool.KeyID) {
	for id := range keys {
		for name, h := range f.nodes {
			if h.state[pool.KeyID(id+1)].ProbeHere {
				who, about = append(who, name), append(about, pool.KeyID(id+1))
			}
		}
	}
	return who, about
}

func TestAnAccountWaitsTogetherAndIsAskedAboutOnce(t *testing.T) {
	f := newFleet(t, 6, "a", "b", "c")
	f.group(5)
	f.signal("a", pool.Signal{Key: 2, Reason: pool.RateLimited, RetryAfter: time.Minute})
	for id := range 5 {
		f.wantStatus(pool.KeyID(id+1), pool.StatusCooling, "rate_limited")
	}
	f.wantStatus(6, pool.StatusActive, "")
	f.addKey(7)
	v, _ := f.pool.KeyView(7)
	v.Key.Group, v.Key.Generation = "account", 2 // joins the account while that waits
	f.apply(pool.Change{Key: &v.Key})
	f.wantStatus(7, pool.StatusCooling, "rate_limited")
	if f.nodes["b"].uses(7) {
		t.Error("a node uses a key that has joined an account which waits")
	}

	f.pass(time.Minute)
	who, about := f.asking(7)
	if len(who) != 1 {
		t.Fatalf("%v are asked about %v, want one about one", who, about)
	}
	f.pass(3 * time.Second)
	if again, _ := f.asking(7); len(again) != 1 {
		t.Errorf("%v are asked while one answers", again)
	}
	f.signal(who[0], pool.Signal{Key: about[0], Generation: f.health(about[0]).Generation, Reason: pool.Recovered, Probe: true})
	f.save()
	for id := range 5 {
		f.wantStatus(pool.KeyID(id+1), pool.StatusActive, "")
	}
	f.signal("b", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	f.wantStatus(2, pool.StatusActive, "") // a rejection is the key's own
}

func TestAfterACoolDownAnotherOneIsAskedIfTheFirstIsSilent(t *testing.T) {
	f := newFleet(t, 2, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	f.pass(time.Minute)
	first, _ := f.asking(1)
	f.pass(61 * time.Second)
	second, _ := f.asking(1)
	if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
		t.Errorf("asked were %v, then %v", first, second)
	}
	f.wantStatus(1, pool.StatusCooling, "rate_limited")
	f.signal(second[0], pool.Signal{Key: 1, Reason: pool.RateLimited, Probe: true})
	f.wantStatus(1, pool.StatusCooling, "rate_limited")
	if who, _ := f.asking(1); len(who) != 0 {
		t.Errorf("it is limited again, and %v are asked at once", who)
	}
}

func TestWithoutAnyNodeACoolDownEndsByItself(t *testing.T) {
	f := newFleet(t, 1)
	f.pool.Signal(f.now, "gone", pool.Signal{Key: 1, Generation: 1, Reason: pool.RateLimited, RetryAfter: time.Minute})
	f.pass(time.Minute)
	f.wantStatus(1, pool.StatusActive, "")
}

func TestManyCoolDownsAreAskedAboutInTurns(t *testing.T) {
	f := newFleet(t, 40, "a", "b")
	for id := range 40 {
		f.signal("a", pool.Signal{Key: pool.KeyID(id + 1), Reason: pool.RateLimited, RetryAfter: time.Minute})
	}
	f.pass(time.Minute)
	seen := map[pool.KeyID]bool{}
	for range 10 {
		who, about := f.asking(40)
		if len(who) > 16 {
			t.Fatalf("%d keys are asked about at the same time", len(who))
		}
		for i, id := range about {
			seen[id] = true
			f.signal(who[i], pool.Signal{Key: id, Reason: pool.Recovered, Probe: true})
		}
		f.save()
		f.pass(5 * time.Second)
	}
	if len(seen) != 40 {
		t.Errorf("%d of 40 keys were asked about", len(seen))
	}
}

func TestANodeThatReportsGoodKeysIsNotBelievedForLong(t *testing.T) {
	f := newFleet(t, 20, "liar", "b", "c")
	out := func() (n int) {
		for id := range 20 {
			if s, _ := f.status(pool.KeyID(id + 1)); s != pool.StatusActive {
				n++
			}
		}
		return n
	}
	worst, probes := 0, 0
	for id := range 20 {
		f.signal("liar", pool.Signal{Key: pool.KeyID(id + 1), Reason: pool.AuthRejected})
		worst = max(worst, out())
		who, about := f.asking(20)
		for i, k := range about {
			if who[i] == "liar" {
				t.Errorf("the liar is asked itself about key %d", k)
			}
			probes++
			f.signal(who[i], pool.Signal{Key: k, Reason: pool.Recovered, Probe: true})
		}
		f.save()
		f.pass(time.Second)
	}
	if worst > 1 || probes != 3 || out() != 0 {
		t.Errorf("%d keys were out at the same time, %d probes were made, %d are out in the end", worst, probes, out())
	}
	if v := f.node("liar"); !v.Distrusted {
		t.Error("nobody can see that the node is not believed")
	}
	f.signal("b", pool.Signal{Key: 9, Reason: pool.AuthRejected})
	f.wantStatus(9, pool.StatusSuspect, "auth_rejected") // others are believed

	f.pass(30 * time.Second) // from time to time one of its reports is looked into
	f.signal("liar", pool.Signal{Key: 5, Reason: pool.AuthRejected})
	f.wantStatus(5, pool.StatusSuspect, "auth_rejected")
	f.signal(f.asked(5), pool.Signal{Key: 5, Reason: pool.AuthRejected, Probe: true})
	if f.node("liar").Distrusted {
		t.Error("it was right, and is not believed yet")
	}
}

func (f *fleet) node(id pool.NodeID) pool.NodeView {
	for _, v := range f.pool.Nodes(f.now) {
		if v.Record.ID == id {
			return v
		}
	}
	return pool.NodeView{}
}

// A provider that rejects everybody has a trouble of its own; its keys are not put away for an hour.
func TestAProviderThatRejectsEverybodyIsAskedAgainSoon(t *testing.T) {
	f := newFleet(t, 6, "a", "b")
	f.serve(1, 2, 3, 4, 5, 6)
	for id := range 6 {
		k := pool.KeyID(id + 1)
		f.signal("a", pool.Signal{Key: k, Reason: pool.AuthRejected})
		f.signal(f.asked(k), pool.Signal{Key: k, Reason: pool.AuthRejected, Probe: true})
	}
	soon := 0
	for id := range 6 {
		if f.health(pool.KeyID(id+1)).Until.Sub(f.now) <= 30*time.Second {
			soon++
		}
	}
	if soon < 4 { // the first ones were rejected while it could have been the keys
		t.Errorf("%d of 6 are asked again soon", soon)
	}
}
