package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestANodeThatComesBackConfirmsNothingBeforeItHoldsEverything(t *testing.T) {
	f := newFleet(t, 1000, "a")
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(time.Time{}, "leaked while the node was away")
	f.apply(pool.Change{Key: &k})
	s := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1})
	var told bool
	for !told {
		if r := f.receipt(); len(r.Acknowledged) != 0 || len(r.Pending) != 1 {
			t.Fatalf("the node uses its former copy of the key still, but the receipt is %+v", r)
		}
		m := s.Next(f.now)
		if m == nil || m.Delta == nil {
			t.Fatalf("the sync stalls: %+v", m)
		}
		told = m.Delta.CompleteRevision > 0
		if !told {
			s.Ack(f.now, m.Delta.Seq, 0, 0, nil)
			continue
		}
		if r := f.receipt(); len(r.Acknowledged) != 0 {
			t.Fatalf("the last of the sync is not confirmed, but the receipt is %+v", r)
		}
		s.Ack(f.now, m.Delta.Seq, 0, 0, nil)
	}
	if r := f.receipt(); len(r.Acknowledged) != 1 {
		t.Errorf("after the whole sync: %+v", r)
	}
}

func TestADisableThatFollowsOneWhoseTimeIsOverWaitsForTheNodes(t *testing.T) {
	f := newFleet(t, 3, "a")
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(f.now.Add(time.Minute), "")
	f.apply(pool.Change{Key: &k})
	f.pass(2 * time.Minute)
	if !f.nodes["a"].uses(1) {
		t.Fatal("the node does not use the key again")
	}
	f.nodes["a"].deaf = true
	k = k.Disable(time.Time{}, "this time for good")
	f.apply(pool.Change{Key: &k})
	if r := f.receipt(); len(r.Pending) != 1 {
		t.Errorf("the node has heard nothing, but the receipt is %+v", r)
	}
	if m := f.nodes["a"].session.Next(f.now); m == nil || m.Health == nil || !m.Health.Keys[0].Open {
		t.Errorf("the next message is %+v, want the disable", m)
	}
}

func TestAKeyThatANodeMayHoldAgainComesWithWhatIsHeldAgainstIt(t *testing.T) {
	f := newFleet(t, 3, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.QuotaExhausted, RetryAfter: time.Hour})
	v, _ := f.pool.KeyView(1)
	elsewhere, back := v.Key, v.Key
	elsewhere.Regions = []string{"us"}
	for _, deaf := range []bool{false, true} { // whether the node hears of the removal, or both come at once
		f.nodes["a"].deaf = deaf
		f.apply(pool.Change{Key: &elsewhere})
		f.nodes["a"].deaf = false
		f.apply(pool.Change{Key: &back})
		if held := f.nodes["a"].keys[1]; !held || f.nodes["a"].uses(1) {
			t.Errorf("deaf %v: held %v, used %v, want a key that is held and cools down", deaf, held, f.nodes["a"].uses(1))
		}
	}
}

func TestASecondSessionOfTheSameProcessIsNoReasonForTheNodeToStop(t *testing.T) {
	f := newFleet(t, 1, "a")
	first := f.nodes["a"].session
	second := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1})
	<-first.Fenced()
	if first.Overtaken() {
		t.Error("the process would take its own next session for another process")
	}
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 2}})
	f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 2})
	<-second.Fenced()
	if !second.Overtaken() {
		t.Error("a newer process does not stop the older one")
	}
}

func TestManyTokensComeInPieces(t *testing.T) {
	f := newFleet(t, 1, "a")
	changes := make([]pool.Change, 100_000)
	for i := range changes {
		changes[i] = pool.Change{Token: &pool.Token{ID: pool.TokenID(i + 1), Name: "t"}}
	}
	f.pool.Apply(f.now, changes)
	s, got := f.nodes["a"].session, 0
	for m := s.Next(f.now); m != nil; m = s.Next(f.now) {
		if n := len(m.Delta.Tokens); n > 2000 {
			t.Fatalf("%d tokens in one message", n)
		}
		got += len(m.Delta.Tokens)
		if r := f.receipt(); len(r.Acknowledged) != 0 {
			t.Fatalf("%d tokens are told and none is confirmed, but the receipt is %+v", got, r)
		}
		if got == len(changes) {
			s.Ack(f.now, m.Delta.Seq, 0, 0, nil)
		}
	}
	if r := f.receipt(); got != len(changes) || len(r.Acknowledged) != 1 {
		t.Errorf("%d tokens were told; receipt %+v", got, r)
	}
}
