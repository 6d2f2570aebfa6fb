package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// holder is a node as far as shares go: what it was told, and what it says that it holds.
type holder struct {
	session *pool.Session
	told    map[pool.LimitID]uint64
	seq     uint64
}

// hear takes all updates of shares that wait for the node.
func (h *holder) hear(now time.Time) {
	for m := h.session.Next(now); m != nil; m = h.session.Next(now) {
		if m.Grants == nil {
			continue
		}
		h.seq = m.Grants.Seq
		for _, g := range m.Grants.Grants {
			h.told[g.ID] = g.Amount
		}
	}
}

func (f *fleet) holder(id pool.NodeID, epoch uint64, holds ...pool.Holding) *holder {
	f.t.Helper()
	f.pool.Apply(f.now, []pool.Change{{Node: &pool.NodeRecord{ID: id, Region: "eu", Epoch: epoch}}})
	s := f.pool.Attach(f.now, pool.Hello{Node: id, Epoch: epoch, Holds: holds})
	if s == nil {
		f.t.Fatalf("node %s was not let in", id)
	}
	h := &holder{session: s, told: map[pool.LimitID]uint64{}}
	h.hear(f.now)
	return h
}

// agree has all nodes hear what there is and confirm it, until nothing is left to be said.
func (f *fleet) agree(all ...*holder) {
	for range 4 {
		for _, h := range all {
			h.hear(f.now)
			h.session.Holds(f.now, h.seq, nil)
		}
	}
}

func (f *fleet) limitKey(id pool.KeyID, l pool.Limits) {
	v, _ := f.pool.KeyView(id)
	v.Key.Limits = l
	f.apply(pool.Change{Key: &v.Key})
}

var perMinute = pool.LimitID{Kind: pool.LimitOfKey, ID: 1, Dimension: pool.DimensionRequests}

// What a node was told counts until it has said that it holds it no more, whatever becomes of the limit meanwhile.
func TestAShareCountsUntilItIsGivenBack(t *testing.T) {
	f := newFleet(t, 1)
	a := f.holder("a", 1)
	f.limitKey(1, pool.Limits{RequestsPerMinute: 60, Hard: true})
	a.hear(f.now)
	if a.told[perMinute] != 60 {
		t.Fatalf("the only node is told %d of 60", a.told[perMinute])
	}
	b := f.holder("b", 1)
	a.hear(f.now)
	if a.told[perMinute] != 30 || b.told[perMinute] != 0 {
		t.Errorf("before a has given anything back it is told %d and b %d", a.told[perMinute], b.told[perMinute])
	}
	a.session.Holds(f.now, a.seq, []pool.Holding{{ID: perMinute, Amount: 50}})
	if b.hear(f.now); b.told[perMinute] != 10 {
		t.Errorf("a holds 50 still, and b is told %d", b.told[perMinute])
	}
	f.limitKey(1, pool.Limits{}) // no limit, and then one again: a has not given back what it had
	f.limitKey(1, pool.Limits{RequestsPerMinute: 60, Hard: true})
	b.hear(f.now)
	if b.told[perMinute] > 10 {
		t.Errorf("a limit that is set anew has b told %d, and a holds 50", b.told[perMinute])
	}
	f.agree(a, b)
	if a.told[perMinute]+b.told[perMinute] != 60 {
		t.Errorf("in the end a has %d and b %d", a.told[perMinute], b.told[perMinute])
	}
}

// A process that dies does not say what it used: what it had rests, whether it comes back or not.
func TestWhatAProcessHadRests(t *testing.T) {
	f := newFleet(t, 1)
	a, b := f.holder("a", 1), f.holder("b", 1)
	f.limitKey(1, pool.Limits{RequestsPerMinute: 60})
	f.agree(a, b)
	f.pool.Detach(f.now, a.session, false, nil)
	again := f.holder("a", 2)
	f.agree(again, b)
	if sum := again.told[perMinute] + b.told[perMinute]; sum != 30 {
		t.Errorf("%d of 60 are given out while 30 rest", sum)
	}
	f.now = f.now.Add(66 * time.Second)
	f.pool.Tick(f.now)
	f.agree(again, b)
	if sum := again.told[perMinute] + b.told[perMinute]; sum != 60 {
		t.Errorf("%d of 60 are given out when all has rested", sum)
	}
	f.pool.Detach(f.now, again.session, true, []pool.Holding{{ID: perMinute, Amount: 5}}) // in order: five have been used
	if f.agree(b); b.told[perMinute] != 55 {
		t.Errorf("a node has left and 5 rest, and the other is told %d", b.told[perMinute])
	}
}

// A control plane that has just started gives nothing away that a node of its earlier life may hold.
func TestAfterAStartItLearns(t *testing.T) {
	f := &fleet{t: t, now: start, nodes: map[pool.NodeID]*hand{}}
	f.pool = pool.New(pool.Config{Start: start, Term: 2})
	p := pool.Provider{ID: "ollama", Enabled: true}.WithDefaults()
	k := pool.Key{ID: 1, Provider: "ollama", Secret: pool.NewSecret("s"), Weight: 1, Generation: 1, Limits: pool.Limits{RequestsPerMinute: 60, Hard: true}}
	nodes := []pool.NodeRecord{{ID: "a", Region: "eu", Epoch: 1}, {ID: "b", Region: "eu", Epoch: 1}}
	f.pool.Load(start, []pool.Change{{Provider: &p}, {Node: &nodes[0]}, {Node: &nodes[1]}, {Key: &k}}, nil)
	a := f.holder("a", 1, pool.Holding{ID: perMinute, Amount: 20})
	if a.told[perMinute] != 0 && a.told[perMinute] != 20 {
		t.Errorf("a holds 20 and is told %d", a.told[perMinute])
	}
	f.now = f.now.Add(2 * time.Minute)
	f.pool.Tick(f.now)
	if a.hear(f.now); a.told[perMinute] > 20 {
		t.Errorf("b may hold its floor still, and a is told %d", a.told[perMinute])
	}
	f.now = f.now.Add(6 * time.Minute)
	f.pool.Tick(f.now)
	if a.hear(f.now); a.told[perMinute] != 60 {
		t.Errorf("b can use nothing any more, and a is told %d", a.told[perMinute])
	}
}

// A budget is given out once a day: what was given is on disk first, a restart knows of it, and the next day is a new one.
func TestABudgetIsGivenOutOnceADay(t *testing.T) {
	f := newFleet(t, 1)
	a := f.holder("a", 1)
	f.limitKey(1, pool.Limits{RequestsPerDay: 100})
	daily := pool.LimitID{Kind: pool.LimitOfKey, ID: 1, Dimension: pool.DimensionRequestsDay}
	if a.hear(f.now); a.told[daily] != 0 {
		t.Fatalf("%d are told before anything is on disk", a.told[daily])
	}
	save := func() []pool.Budget {
		list := f.pool.UnsavedBudgets()
		f.pool.BudgetsSaved(list)
		f.agree(a)
		return list
	}
	for range 60 { // it asks for more and more
		a.session.Demand(f.now, []pool.Want{{Kind: pool.LimitOfKey, ID: 1, Short: []pool.Dimension{pool.DimensionRequestsDay}}})
		save()
	}
	if a.told[daily] == 0 || a.told[daily] > 100 {
		t.Errorf("%d of 100 are given out", a.told[daily])
	}
	f.limitKey(1, pool.Limits{}) // to take the limit away and set it again gives nothing back
	f.limitKey(1, pool.Limits{RequestsPerDay: 100})
	save()
	given := a.told[daily]
	f.now = f.now.Add(24 * time.Hour)
	f.pool.Tick(f.now)
	saved := save()
	if len(saved) != 1 || saved[0].Window == 0 || a.told[daily] == 0 || a.told[daily] > 100 {
		t.Errorf("the next day %d are told (%d the day before), and %+v is saved", a.told[daily], given, saved)
	}

	again := pool.New(pool.Config{Start: f.now, Term: 2})
	p := pool.Provider{ID: "ollama", Enabled: true}.WithDefaults()
	k := pool.Key{ID: 1, Provider: "ollama", Secret: pool.NewSecret("s"), Weight: 1, Generation: 1, Limits: pool.Limits{RequestsPerDay: 100}}
	again.Load(f.now, []pool.Change{{Provider: &p}, {Key: &k}}, nil)
	again.LoadBudgets(f.now, []pool.Budget{{ID: daily, Window: saved[0].Window, Given: 100}})
	f.pool = again
	b := f.holder("b", 1)
	b.session.Demand(f.now, []pool.Want{{Kind: pool.LimitOfKey, ID: 1, Short: []pool.Dimension{pool.DimensionRequestsDay}}})
	f.pool.BudgetsSaved(f.pool.UnsavedBudgets())
	if b.hear(f.now); b.told[daily] != 0 {
		t.Errorf("all was given out before the restart, and %d are given out again", b.told[daily])
	}
}
