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

func (f *fleet) cutOff(id pool.KeyID, until time.Time) {
	v, _ := f.pool.KeyView(id)
	k := v.Key.DisableAndCut(until, "leaked")
	f.apply(pool.Change{Key: &k})
}

func TestRequestsAreCutOffWithTheDisableThatWantsIt(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.nodes["b"].deaf = true
	f.disable(1)
	f.wantCut("a plain disable", "a", "[]")
	f.cutOff(2, time.Time{})
	f.apply(pool.Change{RemovedKey: 3, CutTime: f.now})
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
	f.now = f.now.Add(5 * time.Hour) // lease and grace of all nodes of then are over
	f.pass(2 * time.Second)
	f.join("a", "eu")
	f.wantCut("nobody can have a request with the removed key any more", "a", "[]")
}

func TestACutEndsWithADisableThatEnds(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.cutOff(1, f.now.Add(10*time.Second))
	f.wantCut("disabled for a while", "a", "[1]")
	f.now = f.now.Add(11 * time.Second)
	f.join("a", "eu")
	f.wantCut("when that is over", "a", "[]")
}

// A key that is restored begins anew: what is under way with it then is none of its removal's business.
func TestACutEndsWithTheKeysReturn(t *testing.T) {
	f := newFleet(t, 1, "a")
	v, _ := f.pool.KeyView(1)
	f.apply(pool.Change{RemovedKey: 1, CutTime: f.now})
	f.wantCut("the removal", "a", "[1]")
	k := v.Key
	k.Generation++
	f.apply(pool.Change{Key: &k})
	f.join("a", "eu")
	f.wantCut("back again", "a", "[]")
}

// A control plane that is started anew knows what its predecessor was asked.
func TestCutsAreThereFromTheStart(t *testing.T) {
	f := newFleet(t, 0)
	k := pool.Key{ID: 1, Provider: "ollama", Revision: 1, Generation: 1}.DisableAndCut(time.Time{}, "leaked")
	f.pool.Load(f.now, []pool.Change{{Key: &k}, {RemovedKey: 2, CutTime: f.now.Add(-time.Minute)}, {RemovedKey: 3, CutTime: f.now.Add(-24 * time.Hour)}}, nil)
	f.pass(2 * time.Second)
	f.join("a", "eu")
	f.wantCut("the node is back", "a", "[1 2]")
}
