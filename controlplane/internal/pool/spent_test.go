package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// reportSpent has a node report that the quota of these keys is used up.
func (f *fleet) reportSpent(from pool.NodeID, first, last pool.KeyID) {
	for id := first; id <= last; id++ {
		f.signal(from, pool.Signal{Key: id, Reason: pool.QuotaExhausted, HTTPStatus: 402})
	}
}

// servedBy reports successes of keys that are in use, as the outcome reports of a node do.
func (f *fleet) servedBy(node pool.NodeID, keys pool.KeyID) {
	var seen []pool.Observation
	for id := range keys {
		if s, _ := f.status(id + 1); s == pool.StatusActive {
			seen = append(seen, pool.Observation{Key: id + 1, Good: 1, Served: 1, Node: node, SealedAt: f.now})
		}
	}
	f.pool.Observe(f.now, seen)
	f.deliver()
}

// notActive counts the keys that are out.
func (f *fleet) notActive(keys pool.KeyID) (n int) {
	for id := range keys {
		if s, _ := f.status(id + 1); s != pool.StatusActive {
			n++
		}
	}
	return n
}

// acceptAll answers all probes as an upstream does that knows its keys.
func (f *fleet) acceptAll(keys int) (by []pool.NodeID) {
	who, about := f.asking(keys)
	for i, id := range about {
		f.probed(who[i], id, pool.Recovered)
	}
	return who
}

// A node's way out answers 402 to everything, and others serve with the same keys. Few are out meanwhile, and all are back as soon as it
// is clear. In a small pool half of the keys stay.
func TestANodeThatReportsQuotasAsSpentIsNotBelievedForLong(t *testing.T) {
	for keys, most := range map[int]int{40: 5, 6: 3, 2: 1} {
		f := newFleet(t, keys, "liar", "b", "c")
		f.reportSpent("liar", 1, pool.KeyID(keys))
		worst := f.notActive(pool.KeyID(keys))
		for range 45 {
			f.pass(time.Second)
			f.servedBy("b", pool.KeyID(keys))
			for _, by := range f.acceptAll(keys) {
				if by == "liar" {
					t.Error("the liar is asked itself")
				}
			}
			worst = max(worst, f.notActive(pool.KeyID(keys)))
		}
		if worst != most {
			t.Errorf("%d keys: %d were out on one node's word, want %d", keys, worst, most)
		}
		caught := keys > 2 // with two keys there is one report at most that others can contradict
		if out := f.notActive(pool.KeyID(keys)); f.node("liar").Distrusted != caught || (out == 0) != caught {
			t.Errorf("%d keys: distrusted %v, %d are out", keys, f.node("liar").Distrusted, out)
		}
		if f.node("b").Distrusted || f.node("c").Distrusted {
			t.Error("another node is not believed")
		}
	}
}

// What a node says is true, and others find out: every key is out everywhere with the second report, and nobody is taken for a liar.
func TestASpentQuotaThatASecondNodeMeetsIsOutEverywhere(t *testing.T) {
	const keys = 40
	f := newFleet(t, keys, "a", "b", "c")
	f.reportSpent("a", 1, keys)
	if out := f.notActive(keys); out != 5 {
		t.Fatalf("%d are out with the first report", out)
	}
	f.pass(5 * time.Second)
	f.servedBy("b", keys) // what was under way when the quotas ended
	f.reportSpent("b", 1, keys)
	if out := f.notActive(keys); out != keys || f.node("a").Distrusted || f.node("b").Distrusted {
		t.Errorf("%d of %d are out; believed: a %v, b %v", out, keys, !f.node("a").Distrusted, !f.node("b").Distrusted)
	}
}

// Nobody else uses the keys: then the report is believed after a while, and is stored like any other. A node that is alone is at once.
func TestASpentQuotaThatNobodyContradictsIsBelieved(t *testing.T) {
	const keys = 40
	f := newFleet(t, keys, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.QuotaExhausted, RetryAfter: 72 * time.Hour})
	for id := pool.KeyID(2); id <= keys; id++ {
		f.signal("a", pool.Signal{Key: id, Reason: pool.QuotaExhausted, RetryAfter: 72 * time.Hour})
	}
	end := f.now.Add(72 * time.Hour)
	f.pass(4 * time.Minute)
	if out := f.notActive(keys); out != 5 {
		t.Errorf("%d are out after four minutes", out)
	}
	f.pass(61 * time.Second)
	if out := f.notActive(keys); out != keys {
		t.Errorf("%d of %d are out after five minutes", out, keys)
	}
	v, _ := f.pool.KeyView(keys)
	if !v.Health.Until.Equal(end) {
		t.Errorf("it waits until %v, want %v", v.Health.Until, end)
	}

	f = newFleet(t, keys, "a")
	f.reportSpent("a", 1, keys)
	if out := f.notActive(keys); out != keys {
		t.Errorf("a node that is alone: %d of %d are out", out, keys)
	}
}

// A success that was under way, or that a report tells late, contradicts nobody; nor does one's own.
func TestWhatContradictsNoSpentQuota(t *testing.T) {
	for _, row := range []struct {
		name   string
		by     pool.NodeID
		sealed time.Duration // after the report
		served uint64
		is     bool
	}{
		{"soon after", "b", 29 * time.Second, 1, false},
		{"of an outage that is over", "b", -time.Hour, 1, false},
		{"its own", "a", 40 * time.Second, 1, false},
		{"a client's mistake", "b", 40 * time.Second, 0, false},
		{"a success of another", "b", 30 * time.Second, 1, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFleet(t, 40, "a", "b")
			f.reportSpent("a", 1, 40)
			at := f.now.Add(row.sealed)
			f.pass(41 * time.Second)
			var seen []pool.Observation
			for id := range pool.KeyID(40) {
				seen = append(seen, pool.Observation{Key: id + 1, Good: 1, Served: row.served, Node: row.by, SealedAt: at})
			}
			f.pool.Observe(f.now, seen)
			if f.node("a").Distrusted != row.is {
				t.Errorf("distrusted: %v", !row.is)
			}
		})
	}
}

// A node that is not believed reports a spent quota that another one meets too: it is believed again.
func TestASecondedReportOfAQuotaIsTrust(t *testing.T) {
	const keys = 40
	f := newFleet(t, keys, "a", "b", "c")
	f.reportSpent("a", 1, keys)
	f.pass(31 * time.Second)
	f.servedBy("b", keys)
	if !f.node("a").Distrusted {
		t.Fatal("it is believed")
	}
	f.pass(2 * time.Second)
	f.acceptAll(keys)
	f.reportSpent("a", 7, 7)
	f.wantStatus(7, pool.StatusActive, "")
	f.reportSpent("b", 7, 7)
	f.wantStatus(7, pool.StatusCooling, "quota_exhausted")
	if f.node("a").Distrusted {
		t.Error("it was right, and is not believed")
	}
}

// A new secret, or an operator's enable, voids what was reported of the old one.
func TestAReportOfAQuotaSpeaksOfOneGeneration(t *testing.T) {
	f := newFleet(t, 40, "a", "b")
	f.reportSpent("a", 1, 40)
	v, _ := f.pool.KeyView(40)
	k := v.Key.Enable()
	f.apply(pool.Change{Key: &k})
	f.pass(6 * time.Minute)
	f.wantStatus(40, pool.StatusActive, "")
	f.wantStatus(39, pool.StatusCooling, "quota_exhausted")
}

// The keys of an account wait with one of them, and are back with it when it was not true.
func TestAnAccountIsBackWhenItsQuotaWasNotSpent(t *testing.T) {
	f := newFleet(t, 40, "liar", "b")
	f.group(10)
	f.reportSpent("liar", 1, 1)
	if out := f.notActive(40); out != 10 {
		t.Fatalf("%d keys of an account of 10 wait", out)
	}
	f.reportSpent("liar", 11, 40)
	if out := f.notActive(40); out != 14 {
		t.Errorf("%d are out on one node's word, want the account and four more", out)
	}
	for range 40 {
		f.pass(time.Second)
		f.servedBy("b", 40)
		f.acceptAll(40)
	}
	if out := f.notActive(40); out != 0 {
		t.Errorf("%d are still out", out)
	}
}
