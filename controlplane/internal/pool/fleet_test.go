package pool_test

import (
	"context"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// fleet is a pool with nodes that hear and confirm everything at once, unless told to be deaf.
type fleet struct {
	t     *testing.T
	pool  *pool.Pool
	now   time.Time
	rev   uint64
	nodes map[pool.NodeID]*hand
}

// hand is a node as far as the pool can tell: what it has heard.
type hand struct {
	session *pool.Session
	keys    map[pool.KeyID]bool // held → an operator wants it used
	state   map[pool.KeyID]pool.KeyState
	tokens  map[pool.TokenID]bool
	probes  []pool.KeyID
	cleared [][]pool.ProviderID // what it was told to forget
	cut     []pool.KeyID        // keys whose requests it was told to end
	drains  []bool              // whether to drain, as it was told
	evicted bool
	deaf    bool
	seq     uint64 // of the last health heard
}

func newFleet(t *testing.T, keys int, nodes ...pool.NodeID) *fleet {
	t.Helper()
	f := &fleet{t: t, now: start, nodes: map[pool.NodeID]*hand{}}
	f.pool = pool.New(pool.Config{Start: start, Term: 1, Jitter: func() float64 { return 1 }})
	p := pool.Provider{ID: "ollama", BaseURL: "https://ollama.com", Enabled: true}.WithDefaults()
	f.apply(pool.Change{Provider: &p})
	for i := range keys {
		f.addKey(pool.KeyID(i + 1))
	}
	for _, id := range nodes {
		f.join(id, "eu")
	}
	return f
}

func (f *fleet) addKey(id pool.KeyID) pool.Key {
	k := pool.Key{ID: id, Provider: "ollama", Secret: pool.NewSecret("s"), Weight: 1, Generation: 1}
	f.apply(pool.Change{Key: &k})
	return k
}

func (f *fleet) join(id pool.NodeID, region string) *hand {
	f.t.Helper()
	f.apply(pool.Change{Node: &pool.NodeRecord{ID: id, Region: region, Epoch: 1}})
	s := f.pool.Attach(f.now, pool.Hello{Node: id, Epoch: 1})
	if s == nil {
		f.t.Fatalf("node %s was not let in", id)
	}
	h := &hand{session: s, keys: map[pool.KeyID]bool{}, state: map[pool.KeyID]pool.KeyState{}, tokens: map[pool.TokenID]bool{}}
	f.nodes[id] = h
	f.deliver()
	return h
}

func (f *fleet) apply(c pool.Change) {
	f.rev++
	c.Revision = f.rev
	if c.Key != nil {
		c.Key.Revision = f.rev
	}
	f.pool.Apply(f.now, []pool.Change{c})
	f.deliver()
}

func (f *fleet) signal(from pool.NodeID, s pool.Signal) {
	if s.Generation == 0 {
		s.Generation = 1
	}
	f.pool.Signal(f.now, from, s)
	f.deliver()
}

// save does what a tick does: health reaches the disk, and what that permits is told.
func (f *fleet) save() {
	f.pool.Saved(f.pool.Unsaved())
	f.deliver()
}

// pass lets time go by in steps of a second.
func (f *fleet) pass(d time.Duration) {
	for range max(int(d/time.Second), 1) {
		f.now = f.now.Add(min(d, time.Second))
		f.pool.Tick(f.now)
		f.save()
	}
}

func (f *fleet) deliver() {
	for _, n := range f.nodes {
		if !n.deaf {
			n.hear(f.t, f.now)
		}
	}
}

func (h *hand) hear(t *testing.T, now time.Time) {
	for {
		m := h.session.Next(now)
		if m == nil {
			return
		}
		var delta, health, command uint64
		if m.Health != nil {
			if health = m.Health.Seq; health <= h.seq {
				t.Errorf("health %d told after %d", health, h.seq)
			}
			h.seq = health
			for _, k := range m.Health.Keys {
				h.state[k.Key] = k
				if k.Cut {
					h.cut = append(h.cut, k.Key)
				}
				if k.ProbeHere {
					h.probes = append(h.probes, k.Key)
				}
			}
		}
		if m.Command != nil {
			switch command = m.Command.Seq; {
			case m.Command.Evict:
				h.evicted = true
			case m.Command.Drain != nil:
				h.drains = append(h.drains, *m.Command.Drain)
			default:
				h.cleared = append(h.cleared, m.Command.Clear)
			}
		}
		if m.Delta != nil {
			delta = m.Delta.Seq
			for i, k := range m.Delta.Keys {
				h.keys[k.ID] = !m.Delta.KeysDisabled[i]
			}
			for i, id := range m.Delta.RemovedKeys {
				if m.Delta.RemovedKeysCut[i] {
					h.cut = append(h.cut, id)
				}
				delete(h.keys, id)
				delete(h.state, id)
			}
			for _, tok := range m.Delta.Tokens {
				h.tokens[tok.ID] = true
			}
			for _, id := range m.Delta.RemovedTokens {
				delete(h.tokens, id)
			}
		}
		h.session.Ack(now, delta, health, command, nil)
	}
}

// uses says whether the node would use the key, by what it has heard.
func (h *hand) uses(id pool.KeyID) bool {
	return h.keys[id] && !h.state[id].Open
}

func (f *fleet) status(id pool.KeyID) (pool.Status, string) {
	v, ok := f.pool.KeyView(id)
	if !ok {
		return "", ""
	}
	status, reason, _ := pool.StatusAt(v.Key, v.Health, f.now)
	return status, reason
}

func (f *fleet) wantStatus(id pool.KeyID, want pool.Status, reason string) {
	f.t.Helper()
	if got, why := f.status(id); got != want || why != reason {
		f.t.Errorf("key %d is %q (%s), want %q (%s)", id, got, why, want, reason)
	}
}

// serve reports successes of keys, as the outcome reports of a second do.
func (f *fleet) serve(ids ...pool.KeyID) {
	var seen []pool.Observation
	for _, id := range ids {
		seen = append(seen, pool.Observation{Key: id, Good: 10})
	}
	f.pool.Observe(f.now, seen)
	f.deliver()
}

func (f *fleet) receipt() pool.Receipt {
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel() // whatever is confirmed now
	return f.pool.Receipt(ctx, f.now, func(string) bool { return true })
}
