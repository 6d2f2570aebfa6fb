package pool_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestADisableIsAcknowledgedByName(t *testing.T) {
	f := newFleet(t, 3, "a", "b", "c", "d")
	f.nodes["c"].deaf = true
	f.pool.Detach(f.now, f.nodes["d"].session, false, nil)
	delete(f.nodes, "d")
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(time.Time{}, "leaked")
	f.apply(pool.Change{Key: &k})
	r := f.receipt()
	if len(r.Acknowledged) != 2 || r.Acknowledged[0] != "a" || r.Acknowledged[1] != "b" {
		t.Errorf("acknowledged by %v, want a and b", r.Acknowledged)
	}
	if len(r.Pending) != 1 || r.Pending[0] != "c" {
		t.Errorf("pending: %v, want c", r.Pending)
	}
	want := start.Add(time.Minute + 4*time.Hour)
	if len(r.Unreachable) != 1 || r.Unreachable[0].Node != "d" || !r.Unreachable[0].StopsBy.Equal(want) {
		t.Errorf("unreachable: %v, want d until %v", r.Unreachable, want)
	}
	f.nodes["c"].deaf = false
	f.deliver()
	if r = f.receipt(); len(r.Acknowledged) != 3 || len(r.Pending) != 0 {
		t.Errorf("after c has heard: %+v", r)
	}
}

func TestAReceiptWaitsForNodesThatAreSlow(t *testing.T) {
	f := newFleet(t, 3, "a")
	f.nodes["a"].deaf = true
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(time.Time{}, "")
	f.apply(pool.Change{Key: &k})
	got := make(chan pool.Receipt)
	go func() { got <- f.pool.Receipt(t.Context(), f.now, func(string) bool { return true }) }()
	select {
	case r := <-got:
		t.Fatalf("answered %+v before the node had heard", r)
	case <-time.After(20 * time.Millisecond):
	}
	f.nodes["a"].hear(t, f.now)
	if r := <-got; len(r.Acknowledged) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestADisableOvertakesALongFullSync(t *testing.T) {
	f := newFleet(t, 2000)
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 1}})
	s := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1})
	for range 3 { // the sync has begun; the window is full
		s.Next(f.now)
	}
	v, _ := f.pool.KeyView(1500)
	k := v.Key.Disable(time.Time{}, "")
	f.apply(pool.Change{Key: &k})
	m := s.Next(f.now)
	if m == nil || m.Health == nil || len(m.Health.Keys) != 1 || !m.Health.Keys[0].Open || m.Health.Keys[0].Reason != pool.Admin {
		t.Fatalf("the next message is %+v, want the disable", m)
	}
}

func TestASlowNodeIsNotSentMoreThanTheWindow(t *testing.T) {
	f := newFleet(t, 5000)
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 1}})
	s := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1})
	sent := 0
	for s.Next(f.now) != nil {
		sent++
	}
	if sent > 3 { // tokens and providers, and two chunks of keys
		t.Errorf("%d messages were sent to a node that confirms nothing", sent)
	}
}

func TestANewerProcessFencesTheOlderOne(t *testing.T) {
	f := newFleet(t, 1, "a")
	old := f.nodes["a"].session
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 2}})
	if f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 2}) == nil {
		t.Fatal("the newer process was not let in")
	}
	select {
	case <-old.Fenced():
	default:
		t.Error("the older process was not fenced")
	}
	if f.pool.Renew(f.now, old, pool.NodeStatus{}) != 0 {
		t.Error("the older process had its lease renewed")
	}
	if f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1}) != nil {
		t.Error("the older process was let in again")
	}
}

func TestAKeyGoesOnlyToNodesOfItsRegions(t *testing.T) {
	f := newFleet(t, 1)
	eu, us := f.join("a", "eu"), f.join("b", "us")
	k := pool.Key{ID: 9, Provider: "ollama", Secret: pool.NewSecret("s"), Generation: 1, Regions: []string{"us"}}
	f.apply(pool.Change{Key: &k})
	if eu.uses(9) || !us.uses(9) {
		t.Errorf("eu uses it: %v, us uses it: %v", eu.uses(9), us.uses(9))
	}
	k.Regions = []string{"eu"}
	f.apply(pool.Change{Key: &k})
	if !eu.uses(9) || us.uses(9) {
		t.Errorf("after the move eu uses it: %v, us uses it: %v", eu.uses(9), us.uses(9))
	}
}

// Whatever happens in whatever order, a node that has heard everything agrees with the pool, and nothing was restricted too
// late: a node never uses a key that the pool holds to be out.
func TestNodesAgreeWithThePool(t *testing.T) {
	for seed := range uint64(50) {
		f := newFleet(t, 20, "a", "b", "c")
		r := rand.New(rand.NewPCG(seed, 1))
		names := []pool.NodeID{"a", "b", "c"}
		for range 400 {
			id := pool.KeyID(r.IntN(25) + 1)
			from := names[r.IntN(3)]
			v, held := f.pool.KeyView(id)
			switch op := r.IntN(12); {
			case op == 0 && held:
				k := v.Key.Disable(time.Time{}, "")
				f.apply(pool.Change{Key: &k})
			case op == 1 && held:
				k := v.Key.Enable()
				f.apply(pool.Change{Key: &k})
			case op == 2 && held:
				f.apply(pool.Change{RemovedKey: id})
			case op == 3 && !held:
				f.addKey(id)
			case op == 4:
				f.nodes[from].deaf = !f.nodes[from].deaf
				f.deliver()
			case op == 5:
				f.now = f.now.Add(time.Duration(r.IntN(5000)) * time.Second)
				f.pass(2 * time.Second)
			case op == 6:
				f.join(from, "eu")
			case held:
				f.signal(from, pool.Signal{
					Key: id, Generation: v.Key.Generation - uint64(r.IntN(10)/9), Reason: pool.Reason(r.IntN(10)),
					RetryAfter: time.Duration(r.IntN(100)) * time.Second, Count: r.IntN(4), Probe: r.IntN(3) == 0,
				})
			}
		}
		for _, n := range f.nodes {
			n.deaf = false
		}
		f.save()
		for name, n := range f.nodes {
			for id := range pool.KeyID(26) {
				v, held := f.pool.KeyView(id)
				status, _, _ := pool.StatusAt(v.Key, v.Health, f.now)
				if want := held && status == pool.StatusActive; n.uses(id) != want && (!want || v.Health.Phase != pool.Cooling) {
					t.Fatalf("seed %d: node %s uses key %d: %v, the pool says %v (%s, %+v, heard %+v)",
						seed, name, id, n.uses(id), want, status, v.Health, n.state[id])
				}
			}
		}
	}
}

// A new key is given once every node that may hold it has said that it does; one that is deaf is waited for no longer than asked.
func TestANewKeyIsGivenWhenNodesHaveConfirmedIt(t *testing.T) {
	f := newFleet(t, 0, "a", "b")
	given := func(id pool.KeyID) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		f.pool.Given(ctx, id)
		return ctx.Err() == nil
	}
	f.addKey(1)
	if !given(1) {
		t.Error("both have confirmed the key, and it is waited for")
	}
	f.nodes["b"].deaf = true
	f.addKey(2)
	if given(2) {
		t.Error("one has not heard of the key, and it passes for given")
	}
	f.nodes["b"].deaf = false
	f.deliver()
	if !given(2) {
		t.Error("both have confirmed it now")
	}
}
