package pool_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func (f *fleet) addProvider(id pool.ProviderID) {
	p := pool.Provider{ID: id, BaseURL: "https://example.com", Enabled: true}.WithDefaults()
	f.apply(pool.Change{Provider: &p})
}

// told answers the clears that the node has heard since the last question, each sorted.
func (h *hand) told() string {
	defer func() { h.cleared = nil }()
	for _, ids := range h.cleared {
		slices.Sort(ids)
	}
	return fmt.Sprint(h.cleared)
}

func TestAReceiptWaitsUntilCachesAreCleared(t *testing.T) {
	f := newFleet(t, 1, "a", "b")
	f.nodes["b"].deaf = true
	f.pool.ClearCaches("ollama")
	f.deliver()
	if got := f.nodes["a"].told(); got != "[[ollama]]" {
		t.Errorf("a is told to forget %s", got)
	}
	if r := f.receipt(); fmt.Sprint(r.Acknowledged, r.Pending) != "[a] [b]" {
		t.Errorf("b has heard nothing, but the receipt is %+v", r)
	}
	m := f.nodes["b"].session.Next(f.now)
	if m == nil || m.Command == nil {
		t.Fatalf("the next message is %+v, want the clear", m)
	}
	f.nodes["b"].session.Ack(f.now, 1000, 1000, 0, nil)
	if r := f.receipt(); fmt.Sprint(r.Pending) != "[b]" {
		t.Errorf("b has confirmed all but the clear, but the receipt is %+v", r)
	}
	done := make(chan pool.Receipt)
	go func() { done <- f.pool.Receipt(t.Context(), f.now, func(string) bool { return true }) }()
	f.nodes["b"].session.Ack(f.now, 0, 0, m.Command.Seq, nil)
	if r := <-done; fmt.Sprint(r.Acknowledged) != "[a b]" {
		t.Errorf("both have confirmed, but the receipt is %+v", r)
	}
	if m := f.nodes["b"].session.Next(f.now); m != nil {
		t.Errorf("told again without a reason: %+v", m)
	}
}

func TestAClearGoesAfterHealthAndBeforeKeysInBulk(t *testing.T) {
	f := newFleet(t, 2000)
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "a", Region: "eu", Epoch: 1}})
	s := f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1})
	for range 3 { // the sync has begun; the window is full
		s.Next(f.now)
	}
	f.pool.ClearCaches("")
	v, _ := f.pool.KeyView(1500)
	k := v.Key.Disable(time.Time{}, "")
	f.apply(pool.Change{Key: &k})
	if m := s.Next(f.now); m == nil || m.Health == nil {
		t.Errorf("first comes %+v, want the disable", m)
	}
	if m := s.Next(f.now); m == nil || m.Command == nil || m.Command.Clear != nil {
		t.Errorf("then comes %+v, want the clear of everything", m)
	}
}

func TestANodeThatWasAwayForgetsWhenItIsBack(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.addProvider("mine")
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: "new", Region: "eu"}}) // has joined, has never had a session
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	delete(f.nodes, "a")
	f.pool.ClearCaches("ollama")
	f.pool.ClearCaches("mine")
	f.pool.ClearCaches("nobody")
	if r := f.receipt(); len(r.Unreachable) != 1 || r.Unreachable[0].Node != "a" || len(r.Acknowledged)+len(r.Pending) != 0 {
		t.Errorf("while it is away: %+v", r)
	}
	if got := f.join("a", "eu").told(); got != "[[mine ollama]]" {
		t.Errorf("back again it is told %s", got)
	}
	if got := f.join("a", "eu").told(); got != "[]" {
		t.Errorf("it had confirmed, but in its next session it is told %s", got)
	}
	if got := f.join("new", "eu").told(); got != "[]" {
		t.Errorf("a node that never kept anything is told %s", got)
	}
}

func TestAClearThatWasNotConfirmedIsToldInTheNextSession(t *testing.T) {
	for name, row := range map[string]struct {
		then pool.ProviderID // cleared once the first clear is on its way
		want string
	}{
		"nothing more":          {"ollama", "[[ollama]]"},
		"another one":           {"mine", "[[mine ollama]]"},
		"everything":            {"", "[[]]"},
		"one that is not there": {"nobody", "[[ollama]]"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 1, "a")
			f.addProvider("mine")
			f.nodes["a"].deaf = true
			f.pool.ClearCaches("ollama")
			f.nodes["a"].session.Next(f.now) // lost on its way
			f.pool.ClearCaches(row.then)
			if got := f.join("a", "eu").told(); got != row.want {
				t.Errorf("the next session tells %s, want %s", got, row.want)
			}
			if r := f.receipt(); len(r.Acknowledged) != 1 {
				t.Errorf("receipt %+v", r)
			}
		})
	}
}

func TestWhatWasClearedWhileAClearWasOnItsWayIsToldAgain(t *testing.T) {
	for _, first := range []pool.ProviderID{"ollama", ""} {
		f := newFleet(t, 1, "a")
		s := f.nodes["a"].session
		f.nodes["a"].deaf = true
		f.pool.ClearCaches(first)
		m := s.Next(f.now)
		f.pool.ClearCaches("ollama") // the node may have fetched a list between the two
		s.Ack(f.now, 0, 0, m.Command.Seq, nil)
		if r := f.receipt(); len(r.Pending) != 1 {
			t.Errorf("after %q: the second clear is not confirmed, but the receipt is %+v", first, r)
		}
		if m = s.Next(f.now); m == nil || m.Command == nil || m.Command.Seq != 2 || fmt.Sprint(m.Command.Clear) != "[ollama]" {
			t.Errorf("after %q: the next message is %+v, want the second clear", first, m)
		}
	}
}

func TestAConfirmationOfWhatWasNeverSentCountsForNothing(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.nodes["a"].deaf = true
	f.nodes["a"].session.Ack(f.now, 0, 0, 1000, nil)
	f.pool.ClearCaches("")
	f.nodes["a"].session.Next(f.now)
	f.nodes["a"].session.Ack(f.now, 0, 0, 0, nil)
	if r := f.receipt(); len(r.Pending) != 1 {
		t.Errorf("receipt %+v", r)
	}
}

func TestAClearOfEverythingSwallowsTheOthers(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.addProvider("mine")
	f.nodes["a"].deaf = true
	for _, id := range []pool.ProviderID{"ollama", "", "mine", ""} {
		f.pool.ClearCaches(id)
	}
	if lag := f.pool.Nodes(f.now)[0].Lag; lag != 1 {
		t.Errorf("lag %d", lag)
	}
	f.nodes["a"].hear(t, f.now)
	if got := f.nodes["a"].told(); got != "[[]]" {
		t.Errorf("told %s, want one clear of everything", got)
	}
	if lag := f.pool.Nodes(f.now)[0].Lag; lag != 0 {
		t.Errorf("lag %d after everything was confirmed", lag)
	}
}

func TestWhatANodeOwesHasABound(t *testing.T) {
	f := newFleet(t, 0, "a")
	for n := range 10 {
		f.addProvider(pool.ProviderID(fmt.Sprint("p", n)))
	}
	f.nodes["a"].deaf = true
	for n := range 1000 {
		f.pool.ClearCaches(pool.ProviderID(fmt.Sprint("p", n%20))) // half of them are nobody's
		if m := f.nodes["a"].session.Next(f.now); m == nil && n%20 < 10 {
			t.Fatal("not told")
		}
	}
	if lag := f.pool.Nodes(f.now)[0].Lag; lag != 10 {
		t.Errorf("lag %d, want one for each provider", lag)
	}
	for n := range 10 {
		f.apply(pool.Change{RemovedProvider: pool.ProviderID(fmt.Sprint("p", n))})
	}
	if got := f.join("a", "eu").told(); got != "[]" {
		t.Errorf("told to forget providers that are gone: %s", got)
	}
}

// Whatever breaks off in whatever order, a node that has heard everything has forgotten everything it was to forget.
func TestNoClearGetsLost(t *testing.T) {
	names := []pool.ProviderID{"", "ollama", "x", "y"}
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		f := newFleet(t, 1, "a")
		f.addProvider("x")
		f.addProvider("y")
		s := f.nodes["a"].session
		f.nodes["a"].deaf = true
		now, cleared, forgotten := 0, map[pool.ProviderID]int{}, map[pool.ProviderID]int{}
		var way []*pool.Command // sent, not heard
		var heard uint64
		hear := func() {
			if len(way) == 0 {
				return
			}
			ids := way[0].Clear
			if len(ids) == 0 {
				ids = names
			}
			for _, id := range ids {
				forgotten[id] = now
			}
			way, heard = way[1:], way[0].Seq
		}
		send := func() bool {
			m := s.Next(f.now)
			if m != nil && m.Command != nil {
				way = append(way, m.Command)
			}
			return m != nil
		}
		reconnect := func() {
			f.pool.Detach(f.now, s, false, nil)
			s, heard, way = f.pool.Attach(f.now, pool.Hello{Node: "a", Epoch: 1}), 0, nil
		}
		for range 100 {
			now++
			switch r.IntN(6) {
			case 0, 1:
				id := names[r.IntN(len(names))]
				cleared[id] = now
				f.pool.ClearCaches(id)
			case 2:
				send()
			case 3:
				hear()
			case 4:
				s.Ack(f.now, 0, 0, heard, nil)
			case 5:
				if r.IntN(2) == 0 {
					reconnect()
				}
			}
		}
		if r.IntN(2) == 0 {
			reconnect()
		}
		now++
		for more := true; more || len(way) > 0; s.Ack(f.now, 1000, 0, heard, nil) {
			more = send()
			hear()
		}
		for _, id := range names {
			if forgotten[id] < max(cleared[id], cleared[""]) {
				t.Errorf("seed %d: %q was to be forgotten at %d, was forgotten at %d", seed, id, max(cleared[id], cleared[""]), forgotten[id])
			}
		}
		if r := f.receipt(); len(r.Acknowledged) != 1 {
			t.Errorf("seed %d: receipt %+v", seed, r)
		}
	}
}

func TestWhatANodeKeepsIsShownAsOfItsLastHeartbeat(t *testing.T) {
	f := newFleet(t, 1, "a")
	if v := f.pool.Nodes(f.now)[0]; v.Caches != nil || !v.StatusTime.IsZero() {
		t.Errorf("before the first heartbeat: %+v", v)
	}
	keeps := []pool.CacheStatus{{Provider: "ollama", Lists: 1, Bytes: 100, Hits: 3, Misses: 1}}
	f.pool.Renew(f.now, f.nodes["a"].session, pool.NodeStatus{Caches: keeps})
	at := f.now
	f.now = f.now.Add(time.Second)
	f.nodes["a"].session.Ack(f.now, 0, 0, 0, nil)
	if v := f.pool.Nodes(f.now)[0]; !slices.Equal(v.Caches, keeps) || !v.StatusTime.Equal(at) {
		t.Errorf("got %+v at %v, want %+v at %v", v.Caches, v.StatusTime, keeps, at)
	}
	f.pool.Detach(f.now, f.nodes["a"].session, false, nil)
	if v := f.pool.Nodes(f.now)[0]; v.Caches != nil {
		t.Errorf("without a session: %+v", v)
	}
}
