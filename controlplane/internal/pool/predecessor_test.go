package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// strikes sets how many failures in a row put a key out.
func (f *fleet) strikes(n int) {
	p, _ := f.pool.Provider("ollama")
	p.Strikes = n
	f.apply(pool.Change{Provider: &p})
}

func (f *fleet) health(id pool.KeyID) pool.Health {
	v, _ := f.pool.KeyView(id)
	return v.Health
}

// After N failures, whoever met them and however seldom, N are held against the key, and it goes with the one that the
// provider's setting names.
func TestPredecessor_A7(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 5, 10, 100} {
		for _, pause := range []time.Duration{0, time.Minute} {
			f := newFleet(t, 4, "a", "b")
			f.strikes(limit)
			f.serve(2, 3, 4)
			for n := 1; n <= limit; n++ {
				f.wantStatus(1, pool.StatusActive, "")
				f.pass(pause)
				f.signal([]pool.NodeID{"a", "b"}[n%2], pool.Signal{Key: 1, Reason: pool.ServerError})
				f.serve(2) // answers what the key has failed
				if got := f.health(1).Strikes; got != n {
					t.Errorf("of %d, one in %v: %d failures count as %d", limit, pause, n, got)
				}
			}
			f.wantStatus(1, pool.StatusAutoDisabled, "server_error")
			if f.nodes["a"].uses(1) || f.nodes["b"].uses(1) || f.out() != 1 {
				t.Errorf("of %d, one in %v: it is used, or another is out: %d", limit, pause, f.out())
			}
		}
	}
}

// A success in between begins the row anew, however often; the same number of failures without one puts the key out.
func TestPredecessor_A8(t *testing.T) {
	for _, limit := range []int{2, 3, 5, 10} {
		f := newFleet(t, 4, "a", "b")
		f.strikes(limit)
		f.serve(2, 3, 4)
		fail := func() { f.signal("a", pool.Signal{Key: 1, Reason: pool.Timeout}) }
		for range 1000 { // F S F S …, and as many F as may be before each S
			fail()
			f.signal("b", pool.Signal{Key: 1, Reason: pool.Recovered})
			for range limit - 1 {
				fail()
			}
			f.signal("a", pool.Signal{Key: 1, Reason: pool.Recovered})
		}
		f.wantStatus(1, pool.StatusActive, "")
		for range limit {
			f.wantStatus(1, pool.StatusActive, "")
			fail()
		}
		f.wantStatus(1, pool.StatusAutoDisabled, "timeout")
	}
}

// A key that is out is in use again at the instant that was named: nobody has to put it back. After a cool-down one node asks first;
// with no node there it is back by the clock alone.
func TestPredecessor_A9(t *testing.T) {
	for _, row := range []struct {
		what   string
		out    func(f *fleet)
		wait   time.Duration
		before pool.Status
	}{
		{"the cool-down that an upstream asked for", func(f *fleet) {
			f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: 90 * time.Second})
		}, 90 * time.Second, pool.StatusCooling},
		{"a quota for three days", func(f *fleet) {
			f.signal("a", pool.Signal{Key: 1, Reason: pool.QuotaExhausted, RetryAfter: 72 * time.Hour})
		}, 72 * time.Hour, pool.StatusCooling},
		{"a cool-down without a hint", func(f *fleet) {
			f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited})
		}, 5 * time.Second, pool.StatusCooling},
		{"an operator's disable for ten minutes", func(f *fleet) {
			v, _ := f.pool.KeyView(1)
			k := v.Key.Disable(f.now.Add(10*time.Minute), "")
			f.apply(pool.Change{Key: &k})
		}, 10 * time.Minute, pool.StatusDisabled},
	} {
		f := newFleet(t, 4, "a", "b")
		row.out(f)
		f.now = start.Add(row.wait - time.Nanosecond)
		f.wantStatus(1, row.before, map[bool]string{true: "admin", false: f.health(1).Reason.String()}[row.before == pool.StatusDisabled])
		if told := f.nodes["b"].state[1].OpenFor; row.before == pool.StatusCooling && told != row.wait+margin {
			t.Errorf("%s: a node waits %v by its own clock, want %v", row.what, told, row.wait+margin)
		}

		f.now = start.Add(row.wait - time.Second)
		f.pool.Tick(f.now)
		f.save()
		if f.nodes["a"].uses(1) {
			t.Errorf("%s: a node was told a second too early", row.what)
		}
		f.now = start.Add(row.wait)
		f.pool.Tick(f.now)
		f.save()
		if row.before == pool.StatusCooling {
			f.back(1)
		}
		f.wantStatus(1, pool.StatusActive, "")
		if !f.nodes["a"].uses(1) || !f.nodes["b"].uses(1) {
			t.Errorf("%s: the nodes were not told in time", row.what)
		}
	}

	// What was put out by failures is asked about at that instant, by one node, and is back with the answer.
	f := newFleet(t, 4, "a", "b")
	f.serve(2, 3, 4)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.ServerError, Count: pool.DefaultStrikes})
	f.wantStatus(1, pool.StatusAutoDisabled, "server_error")
	f.now = start.Add(pool.DefaultEjectFor - time.Nanosecond)
	f.pool.Tick(f.now)
	f.deliver()
	if n := len(f.nodes["a"].probes) + len(f.nodes["b"].probes); n != 0 {
		t.Errorf("%d probes before the hour was over", n)
	}
	f.now = start.Add(pool.DefaultEjectFor)
	f.pool.Tick(f.now)
	f.deliver()
	f.signal(f.asked(1), pool.Signal{Key: 1, Reason: pool.Recovered, Probe: true})
	f.save()
	f.wantStatus(1, pool.StatusActive, "")
	if !f.nodes["a"].uses(1) || !f.nodes["b"].uses(1) {
		t.Error("the nodes do not use it again")
	}
}

// When most keys of a provider meet the same failure it is the provider's: none is put out, and with the failure's end all
// serve. Until the last ten seconds speak for that, as many as half may be out.
func TestPredecessor_A11(t *testing.T) {
	for _, row := range []struct {
		what          string
		failing       pool.KeyID // so many of ten
		every         time.Duration
		atOnce, times int // failures of each key every time; 0: one of one key, in turn
	}{
		{"all of them, hundreds a second", 10, time.Second, 50, 300},
		{"all of them, as often as they served before", 10, time.Second, 1, 300},
		{"eight of ten", 8, time.Second, 2, 300},
		{"all of them, seldom", 10, 4 * time.Second, 0, 120},
	} {
		f := newFleet(t, 10, "a", "b")
		all := []pool.KeyID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
		for range 20 {
			f.pass(time.Second)
			var seen []pool.Observation
			for _, id := range all {
				seen = append(seen, pool.Observation{Key: id, Good: 1})
			}
			f.pool.Observe(f.now, seen)
		}
		begin := f.now
		for n := range row.times {
			var seen []pool.Observation
			for i, id := range all {
				if row.atOnce == 0 && i != n%len(all) {
					continue
				}
				if id > row.failing {
					seen = append(seen, pool.Observation{Key: id, Good: 1})
					continue
				}
				f.signal([]pool.NodeID{"a", "b"}[id%2], pool.Signal{Key: id, Reason: pool.ServerError, Count: row.atOnce})
				seen = append(seen, pool.Observation{Key: id, Bad: uint64(max(row.atOnce, 1))})
			}
			f.pass(row.every)
			f.pool.Observe(f.now, seen)
			f.save()
			if out, since := f.out(), f.now.Sub(begin); out > 5 || (out > 0 && since > 10*time.Second) {
				t.Fatalf("%s: %d keys are out after %v", row.what, out, since)
			}
		}
		if blamed := f.pool.Blamed("ollama"); blamed != (row.atOnce > 0) {
			t.Errorf("%s: the provider is blamed: %v", row.what, blamed)
		}
		for _, id := range all { // the first successes, one after the other
			if f.health(id).Usable() {
				f.signal("a", pool.Signal{Key: id, Reason: pool.Recovered})
				f.serve(id)
			}
			f.pass(3 * time.Second)
		}
		for _, id := range all { // an interval between two probes has passed
			f.wantStatus(id, pool.StatusActive, "")
			if !f.nodes["a"].uses(id) || !f.nodes["b"].uses(id) {
				t.Errorf("%s: key %d is not in use again", row.what, id)
			}
		}
		if f.pool.Blamed("ollama") {
			t.Errorf("%s: the provider is still blamed", row.what)
		}
	}
}
