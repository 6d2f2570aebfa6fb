package pool_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func (f *fleet) order(id pool.NodeID, change func(*pool.NodeRecord)) {
	r := pool.NodeRecord{ID: id, Region: "eu", Epoch: 1}
	change(&r)
	f.apply(pool.Change{Node: &r})
}

func TestADrainIsToldInEverySession(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	f.order("a", func(r *pool.NodeRecord) { r.Drained = true })
	if got := fmt.Sprint(f.nodes["a"].drains, f.nodes["b"].drains); got != "[true] []" {
		t.Errorf("told %s, want a alone to drain", got)
	}
	f.order("a", func(r *pool.NodeRecord) { r.Drained, r.CertificateSerial = true, []byte{1} })
	if got := fmt.Sprint(f.nodes["a"].drains); got != "[true]" {
		t.Errorf("told %s: nothing has changed", got)
	}
	before := f.nodes["a"].session
	again := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1}) // its record still says so
	f.nodes["a"].session, f.nodes["a"].drains = again, nil
	f.deliver()
	if got := fmt.Sprint(f.nodes["a"].drains); got != "[true]" || before == again {
		t.Errorf("told %s in the next session", got)
	}
	f.nodes["a"].deaf = true
	f.order("a", func(*pool.NodeRecord) {})
	if r := f.receipt(); fmt.Sprint(r.Acknowledged, r.Pending) != "[b] [a]" {
		t.Errorf("a has not heard that the drain is over, but the receipt is %+v", r)
	}
	f.nodes["a"].deaf = false
	f.deliver()
	if got := fmt.Sprint(f.nodes["a"].drains, f.receipt().Acknowledged); got != "[true false] [a b]" {
		t.Errorf("told and confirmed: %s", got)
	}
}

func evict(r *pool.NodeRecord) { r.EvictTime = start }

func (f *fleet) evictReceipt(id pool.NodeID) pool.Receipt {
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	return f.pool.EvictReceipt(ctx, f.now, id)
}

func TestAnEvictedNodeConfirmsThatItHoldsNothing(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	f.nodes["a"].deaf = true
	s := f.nodes["a"].session
	f.order("a", evict)
	if f.pool.Renew(f.now, s, pool.NodeStatus{}) != 0 {
		t.Error("the lease of an evicted node was renewed")
	}
	if r := f.evictReceipt("a"); fmt.Sprint(r.Pending) != "[a]" {
		t.Errorf("nothing was confirmed: %+v", r)
	}
	f.nodes["a"].deaf = false
	f.deliver()
	select {
	case <-s.Fenced():
	default:
		t.Error("the session goes on")
	}
	if evicted, wiped := s.Evicted(); !evicted || !wiped || !f.nodes["a"].evicted {
		t.Errorf("evicted %v, wiped %v, told %v", evicted, wiped, f.nodes["a"].evicted)
	}
	if r := f.evictReceipt("a"); fmt.Sprint(r.Acknowledged) != "[a]" {
		t.Errorf("it has confirmed: %+v", r)
	}
	delete(f.nodes, "a")
	f.disable(1)
	if r := f.receipt(); fmt.Sprint(r.Acknowledged, len(r.Pending), len(r.Unreachable)) != "[b] 0 0" {
		t.Errorf("the receipt of a later disable is %+v: a holds nothing", r)
	}
	if f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 2}) != nil {
		t.Error("it was let in again")
	}
}

func TestANodeThatIsEvictedWhileAwayIsSaidToGoOnUntilItsGraceIsOver(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	delete(f.nodes, "a")
	f.order("a", evict)
	r := f.evictReceipt("a")
	if len(r.Unreachable) != 1 || !r.Unreachable[0].StopsBy.Equal(start.Add(4*time.Hour+time.Minute)) {
		t.Errorf("got %+v", r)
	}
}

func TestAnEvictReceiptWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1, "a")
		f.nodes["a"].deaf = true
		f.order("a", evict)
		got := make(chan pool.Receipt, 1)
		go func() { got <- f.pool.EvictReceipt(t.Context(), f.now, "a") }()
		synctest.Wait()
		select {
		case r := <-got:
			t.Fatalf("answered %+v too early", r)
		default:
		}
		f.nodes["a"].hear(t, f.now)
		if r := <-got; fmt.Sprint(r.Acknowledged) != "[a]" {
			t.Errorf("got %+v", r)
		}
	})
}

// Of a key that is too sensitive to be used without a fresh word a node that is away stops early, if it knows that it is to.
func TestStopsByOfKeysThatGoStale(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	for id := range pool.KeyID(2) {
		f.apply(pool.Change{Key: &pool.Key{
			ID: 10 + id, Provider: "ollama", Secret: pool.NewSecret("s"), Generation: 1, MaxStale: time.Duration(id+1) * 90 * time.Second,
		}})
	}
	f.now = f.now.Add(10 * time.Second)
	f.pool.Renew(f.now, f.nodes["a"].session, pool.NodeStatus{})
	renewed := f.now
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	f.now = f.now.Add(30 * time.Second)
	stops := func(ids ...pool.KeyID) (by time.Duration) {
		t.Helper()
		var keys []pool.Key
		for _, id := range ids {
			v, _ := f.pool.KeyView(id)
			keys = append(keys, v.Key)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r := f.pool.KeysReceipt(ctx, f.now, func(string) bool { return true }, keys)
		for _, u := range r.Unreachable {
			if u.Node == "a" {
				by = u.StopsBy.Sub(renewed)
			}
		}
		return by
	}
	whole := time.Minute + 4*time.Hour
	for _, row := range []struct {
		why  string
		keys []pool.KeyID
		want time.Duration
	}{
		{"one key", []pool.KeyID{10}, 90 * time.Second},
		{"the looser of two", []pool.KeyID{10, 11}, 180 * time.Second},
		{"one of them may be used for as long as there is grace", []pool.KeyID{10, 1}, whole},
	} {
		if got := stops(row.keys...); got != row.want {
			t.Errorf("%s: stops within %v, want %v", row.why, got, row.want)
		}
	}
	f.disable(10)
	if got := stops(10); got != 90*time.Second {
		t.Errorf("once disabled: within %v", got)
	}
	v, _ := f.pool.KeyView(11)
	k := v.Key
	k.MaxStale = 10 * time.Second
	f.apply(pool.Change{Key: &k})
	if got := stops(11); got != whole {
		t.Errorf("a node that does not know of the change stops within %v, want %v: it may hold a copy without any such limit", got, whole)
	}
	f.now = renewed.Add(91 * time.Second)
	if got := stops(10); got != 0 {
		t.Errorf("when it has stopped by itself it is still named")
	}
}
