package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestThreeFailuresInARowPutAKeyOutForAnHourAndOneProbeBringsItBack(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.serve(2, 3, 4)
	fail := pool.Signal{Key: 1, Reason: pool.ServerError}
	f.signal("a", fail)
	f.signal("b", fail)
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["b"].state[1].Watched {
		t.Error("node b has not heard that the key's next success counts")
	}
	f.signal("a", fail)
	f.wantStatus(1, pool.StatusAutoDisabled, "server_error")
	if f.nodes["a"].uses(1) || f.nodes["b"].uses(1) {
		t.Error("a node still uses the key")
	}
	f.pass(59 * time.Minute)
	if n := len(f.nodes["a"].probes) + len(f.nodes["b"].probes); n != 0 {
		t.Fatalf("%d probes before the hour was over", n)
	}
	f.pass(61 * time.Second)
	asked := f.asked(1)
	f.signal(asked, pool.Signal{Key: 1, Reason: pool.Recovered, Probe: true})
	if f.nodes["a"].uses(1) {
		t.Error("the permission was told before it was saved")
	}
	f.save()
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["a"].uses(1) || !f.nodes["b"].uses(1) {
		t.Error("a node does not use the key again")
	}
}

// asked answers the one node that has been asked to probe, and fails unless there is exactly one.
func (f *fleet) asked(id pool.KeyID) pool.NodeID {
	f.t.Helper()
	var asked pool.NodeID
	for node, h := range f.nodes {
		for _, k := range h.probes {
			if k != id {
				continue
			}
			if asked != "" {
				f.t.Fatalf("key %d is probed twice: by %s and %s", id, asked, node)
			}
			asked = node
		}
		h.probes = nil
	}
	if asked == "" {
		f.t.Fatalf("nobody was asked to probe key %d", id)
	}
	return asked
}

func TestFailuresThatAreNotInARowNeverPutAKeyOut(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	for range 50 {
		f.serve(2, 3, 4)
		f.signal("a", pool.Signal{Key: 1, Reason: pool.Timeout})
		f.signal("a", pool.Signal{Key: 1, Reason: pool.BrokenAnswer})
		f.signal("b", pool.Signal{Key: 1, Reason: pool.Recovered})
		f.wantStatus(1, pool.StatusActive, "")
	}
}

func TestOneRejectionTakesAKeyOutEverywhereAndAnotherNodeConfirms(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	f.wantStatus(1, pool.StatusSuspect, "auth_rejected")
	if f.nodes["a"].uses(1) || f.nodes["b"].uses(1) {
		t.Error("a node still uses the key")
	}
	if asked := f.asked(1); asked != "b" {
		t.Errorf("%s was asked to confirm its own finding", asked)
	}
	f.signal("a", pool.Signal{Key: 1, Reason: pool.Recovered, Probe: true}) // was not asked
	f.wantStatus(1, pool.StatusSuspect, "auth_rejected")
	wait := time.Hour
	f.signal("b", pool.Signal{Key: 1, Reason: pool.AuthRejected, Probe: true})
	for range 7 { // 1 h, 2 h, 4 h … a day at most
		f.wantStatus(1, pool.StatusAutoDisabled, "auth_rejected")
		f.pass(wait - 2*time.Second)
		if n := len(f.nodes["a"].probes) + len(f.nodes["b"].probes); n != 0 {
			t.Fatalf("probed before %v were over", wait)
		}
		f.pass(3 * time.Second)
		f.signal(f.asked(1), pool.Signal{Key: 1, Reason: pool.AuthRejected, Probe: true})
		wait = min(2*wait, 24*time.Hour)
	}
}

func TestARefutedRejectionGivesTheKeyBack(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	f.signal(f.asked(1), pool.Signal{Key: 1, Reason: pool.Recovered, Probe: true})
	f.save()
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["a"].uses(1) {
		t.Error("node a does not use the key again")
	}
}

func TestAProbeThatIsNotAnsweredIsGivenToAnotherNode(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	if first := f.asked(1); first != "b" {
		t.Fatalf("%s was asked first", first)
	}
	f.pass(61 * time.Second)
	if next := f.asked(1); next != "a" {
		t.Errorf("%s was asked again", next)
	}
	f.signal("b", pool.Signal{Key: 1, Reason: pool.AuthRejected, Probe: true}) // too late
	f.wantStatus(1, pool.StatusSuspect, "auth_rejected")
}

func TestAProbeIsAskedOfAnotherNodeWhenTheAskedOneGoes(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.AuthRejected})
	f.asked(1)
	f.pool.Detach(f.now, f.nodes["b"].session, false, nil)
	delete(f.nodes, "b")
	f.pass(time.Second)
	if next := f.asked(1); next != "a" {
		t.Errorf("%s was asked", next)
	}
}

// margin is how much longer than its cool-down a node that hears nothing leaves a key alone.
const margin = 30 * time.Second

// back answers that the key is good to the one node that is asked once its cool-down is over.
func (f *fleet) back(id pool.KeyID) {
	f.t.Helper()
	f.signal(f.asked(id), pool.Signal{Key: id, Reason: pool.Recovered, Probe: true})
	f.save()
}

func TestACoolDownMayLengthenButNeverShorten(t *testing.T) {
	for _, row := range []struct {
		name   string
		waits  []time.Duration
		wantIn time.Duration
	}{
		{"one", []time.Duration{30 * time.Second}, 30 * time.Second},
		{"a shorter one after it", []time.Duration{30 * time.Second, 5 * time.Second}, 30 * time.Second},
		{"a longer one after it", []time.Duration{30 * time.Second, 90 * time.Second}, 90 * time.Second},
		{"one without a hint after it", []time.Duration{30 * time.Second, 0}, 30 * time.Second},
		{"none says how long", []time.Duration{0, 0, 0}, 5 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFleet(t, 2, "a", "b")
			for _, wait := range row.waits {
				f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: wait})
			}
			if got := f.nodes["b"].state[1].OpenFor; got != row.wantIn+margin {
				t.Errorf("node b heard %v, want %v", got, row.wantIn)
			}
			f.pass(row.wantIn - time.Second)
			f.wantStatus(1, pool.StatusCooling, "rate_limited")
			f.pass(time.Second)
			f.back(1)
			f.wantStatus(1, pool.StatusActive, "")
		})
	}
}

func TestLimitsWithoutAHintWaitTwiceAsLongEachTimeUntilASuccess(t *testing.T) {
	f := newFleet(t, 2, "a")
	for _, want := range []time.Duration{5, 10, 20, 40} {
		f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited})
		if got := f.nodes["a"].state[1].OpenFor; got != want*time.Second+margin {
			t.Fatalf("waits %v, want %v", got, want*time.Second)
		}
		f.pass(want * time.Second)
		f.back(1)
	}
	if !f.nodes["a"].state[1].Watched {
		t.Error("the node has not heard that a success ends the doubling")
	}
	f.signal("a", pool.Signal{Key: 1, Reason: pool.Recovered})
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited})
	if got := f.nodes["a"].state[1].OpenFor; got != 5*time.Second+margin {
		t.Errorf("after a success it waits %v, want 5s", got)
	}
}

func TestASignalAboutAReplacedGenerationChangesNothing(t *testing.T) {
	f := newFleet(t, 2, "a")
	v, _ := f.pool.KeyView(1)
	k := v.Key.Enable() // generation 2
	f.apply(pool.Change{Key: &k})
	for _, r := range []pool.Reason{pool.AuthRejected, pool.RateLimited, pool.ServerError, pool.QuotaExhausted} {
		f.signal("a", pool.Signal{Key: 1, Generation: 1, Reason: r, Count: 5})
		f.wantStatus(1, pool.StatusActive, "")
	}
}

func TestAnEnableClearsWhatWasHeldAgainstTheKey(t *testing.T) {
	f := newFleet(t, 2, "a")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.QuotaExhausted, RetryAfter: 48 * time.Hour})
	f.wantStatus(1, pool.StatusCooling, "quota_exhausted")
	v, _ := f.pool.KeyView(1)
	k := v.Key.Enable()
	f.apply(pool.Change{Key: &k})
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["a"].uses(1) {
		t.Error("the node has not heard it")
	}
}

func TestADisableWithAnEndEndsByItself(t *testing.T) {
	f := newFleet(t, 2, "a")
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(f.now.Add(time.Minute), "")
	f.apply(pool.Change{Key: &k})
	f.wantStatus(1, pool.StatusDisabled, "admin")
	if f.nodes["a"].uses(1) {
		t.Error("the node still uses the key")
	}
	f.pass(61 * time.Second)
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["a"].uses(1) {
		t.Error("the node does not use the key again")
	}
}

func TestAnExpiredKeyIsTakenBack(t *testing.T) {
	f := newFleet(t, 1, "a")
	k := pool.Key{ID: 9, Provider: "ollama", Secret: pool.NewSecret("s"), Generation: 1, ExpireTime: f.now.Add(time.Minute)}
	f.apply(pool.Change{Key: &k})
	f.pass(59 * time.Second)
	if !f.nodes["a"].uses(9) {
		t.Error("the node gave the key up too early")
	}
	f.pass(2 * time.Second)
	f.wantStatus(9, pool.StatusExpired, "expired")
	if f.nodes["a"].uses(9) {
		t.Error("the node still holds the key")
	}
	f.join("b", "eu")
	if f.nodes["b"].uses(9) {
		t.Error("a node that came later was given the key")
	}
}

func TestHealthSurvivesARestart(t *testing.T) {
	f := newFleet(t, 4, "a")
	f.serve(2, 3, 4)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: 2 * time.Hour})
	f.signal("a", pool.Signal{Key: 2, Reason: pool.ServerError, Count: 2})
	f.signal("a", pool.Signal{Key: 3, Reason: pool.AuthRejected})
	held := f.pool.Unsaved()

	g := newFleet(t, 0)
	var changes []pool.Change
	f.pool.EachKey(0, func(v pool.KeyView) bool {
		changes = append(changes, pool.Change{Key: &v.Key})
		return true
	})
	old := f.now
	held = append(held, pool.Health{Key: 4, Generation: 7, Phase: pool.AutoOff}) // of a generation that is no more
	g.pool.Load(old, changes, held)
	g.wantStatus(1, pool.StatusCooling, "rate_limited")
	g.wantStatus(3, pool.StatusSuspect, "auth_rejected")
	g.wantStatus(4, pool.StatusActive, "")
	g.join("a", "eu")
	if g.nodes["a"].uses(1) || g.nodes["a"].uses(3) || !g.nodes["a"].uses(4) {
		t.Error("the node was not told what the control plane remembered")
	}
	g.serve(1, 3, 4)
	g.signal("a", pool.Signal{Key: 2, Reason: pool.ServerError})
	g.wantStatus(2, pool.StatusAutoDisabled, "server_error")
}
