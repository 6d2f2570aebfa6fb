package pool_test

import (
	"fmt"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func (f *fleet) disable(id pool.KeyID) {
	v, _ := f.pool.KeyView(id)
	k := v.Key.Disable(time.Time{}, "leaked")
	f.apply(pool.Change{Key: &k})
}

func (f *fleet) enable(id pool.KeyID) {
	v, _ := f.pool.KeyView(id)
	k := v.Key.Enable()
	f.apply(pool.Change{Key: &k})
}

// toCut answers which keys the node was told to end requests of, since the last question.
func (h *hand) toCut() string {
	defer func() { h.cut = nil }()
	ids := make([]uint64, len(h.cut))
	for i, id := range h.cut {
		ids[i] = uint64(id)
	}
	return fmt.Sprint(ids)
}

func (f *fleet) wantCut(why string, node pool.NodeID, want string) {
	f.t.Helper()
	if got := f.nodes[node].toCut(); got != want {
		f.t.Errorf("%s: %s was told to cut off %s, want %s", why, node, got, want)
	}
}

func TestRequestsAreCutOffWithTheDisableThatWantsIt(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.nodes["b"].deaf = true
	f.disable(1)
	f.wantCut("a plain disable", "a", "[]")
	f.pool.CancelInFlight(f.now, []pool.KeyID{2, 3})
	f.wantCut("before the disable", "a", "[]")
	f.disable(2)
	f.apply(pool.Change{RemovedKey: 3})
	f.wantCut("the disable and the removal", "a", "[2 3]")
	f.nodes["b"].deaf = false
	f.deliver()
	f.wantCut("the same, heard late", "b", "[2 3]")
	f.join("a", "eu")
	f.wantCut("in the next session of a node that was away", "a", "[2 3]")
	f.enable(2)
	f.disable(2)
	f.wantCut("a plain disable after the end of the first", "b", "[]")
	f.join("a", "eu")
	f.wantCut("nor is the former wish told again", "a", "[3]")
	f.pass(2 * time.Second)
	f.now = f.now.Add(5 * time.Hour) // lease and grace of all nodes of then are over
	f.pass(2 * time.Second)
	f.join("a", "eu")
	f.wantCut("nobody can have a request with the removed key any more", "a", "[]")
}

func TestAWishWhoseDisableNeverCameIsForgotten(t *testing.T) {
	f := newFleet(t, 2, "a")
	f.pool.CancelInFlight(f.now, []pool.KeyID{1, 99})
	v, _ := f.pool.KeyView(1)
	k := v.Key
	k.Label = "another change comes in between"
	f.apply(pool.Change{Key: &k})
	f.pass(90 * time.Second)
	f.disable(1)
	f.wantCut("long after the wish", "a", "[]")

	f.pool.CancelInFlight(f.now, []pool.KeyID{2})
	f.apply(pool.Change{Key: &k})
	f.disable(2)
	f.wantCut("with another change in between", "a", "[2]")
}

func TestACutEndsWithADisableThatEnds(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.pool.CancelInFlight(f.now, []pool.KeyID{1})
	v, _ := f.pool.KeyView(1)
	k := v.Key.Disable(f.now.Add(10*time.Second), "")
	f.apply(pool.Change{Key: &k})
	f.wantCut("disabled for a while", "a", "[1]")
	f.now = f.now.Add(11 * time.Second)
	f.disable(1)
	f.wantCut("disabled again when that is over", "a", "[]")
}

// Who asks again for what is in force takes nothing back, also if the change that goes with it cannot be saved.
func TestAWishThatIsInForceStays(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	f.pool.Detach(f.now, f.nodes["b"].session, false, nil)
	delete(f.nodes, "b")
	f.pool.CancelInFlight(f.now, []pool.KeyID{1})
	f.disable(1)
	f.pool.CancelInFlight(f.now, []pool.KeyID{1}) // and nothing is committed
	f.pass(90 * time.Second)
	f.join("b", "eu")
	f.wantCut("back again, the node hears of it", "b", "[1]")
}
