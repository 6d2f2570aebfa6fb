// Package pool is the heart of the control plane: keys and their life, and which node may hold and use them.
//
// It keeps in memory what the store has committed (Apply), judges what nodes tell about keys (Signal, Observe, Tick), and
// decides what each node must hear next (Session.Next). It does no I/O, imports the standard library only, and is told the
// time. One mutex guards everything; nothing under it blocks.
//
// Invariants, kept by every exported function:
//
//   - Config is visible only once committed: only Apply changes it, and only the store's commit calls Apply.
//   - What restricts is told to nodes first and saved within a tick; what permits is saved first and told then. A crash
//     can therefore lose a permission but never a restriction that anybody acted on... except one younger than a tick,
//     which the nodes that met it say again in their next Hello.
//   - What is held against a key speaks of one generation. A signal about another generation changes nothing.
//   - A cool-down may lengthen, never shorten, unless it rests on the word of a node that is found not to be right.
//   - At most one probe of a key runs in the fleet at a time, and it has a lifetime.
//   - At most half of a provider's keys are out for soft reasons (5xx, timeouts, broken answers), and none are put out
//     while the provider itself is failing.
//   - The memory a slow node costs is bounded by the number of resources it may hold: it has a set of what it must still
//     hear, never a queue of messages.
//   - A node's lease as it counts it ends before the lease as it is counted here.
//   - No more of a limit is given out than there is: see ledger.go.
package pool

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Config sets the times of the lease. Zero values take the defaults.
type Config struct {
	LeaseTTL time.Duration // life of a lease; default 60 s
	Grace    time.Duration // how long a node may go on after its lease; negative: none; default 4 h
	Start    time.Time     // when this control plane started: nodes of an earlier life are granted a whole lease from then
	Term     uint64        // fencing token of this start
	// Broken is told of an invariant that does not hold, under the pool's lock; nil: nobody is.
	Broken func(what string)
	// Distrusted is told when what a node reports is not acted on any more, and when it is again, under the pool's lock; nil: nobody is.
	Distrusted func(node NodeID, is bool)
	// Jitter answers a factor around 1 for waits that the upstream did not set; default 0.8 to 1.2 at random.
	Jitter func() float64
}

func (c Config) leaseTTL() time.Duration { return or(c.LeaseTTL, time.Minute) }

func (c Config) grace() time.Duration { return max(or(c.Grace, 4*time.Hour), 0) }

func (c Config) jitter() float64 {
	if c.Jitter != nil {
		return c.Jitter()
	}
	return 0.8 + 0.4*rand.Float64() //nolint:gosec // spreads waits, guards nothing
}

// Pool is the state of the fleet. Make it with New.
type Pool struct {
	cfg Config

	mu        sync.Mutex // guards everything below, and the fields of keyState, providerState, node and Session
	revision  uint64     // of the last applied change
	keys      map[KeyID]*keyState
	order     []KeyID // the same, ascending, for paging
	tokens    map[TokenID]Token
	providers map[ProviderID]*providerState
	nodes     map[NodeID]*node
	out       map[KeyID]*keyState // those whose phase is not Healthy: what Tick looks at
	timed     map[KeyID]*keyState // those with an end of life or of an operator's disable
	lastTimed time.Time
	cut       map[KeyID]time.Time // removed keys whose requests under way are to end, and since when
	unsaved   map[KeyID]struct{}  // health that stats.db does not hold yet
	history   history             // that stats.db does not hold yet
	healthSeq uint64              // of the last health update told to any node; rises within the term
	urgent    uint64              // counts changes that nodes must confirm; see Receipt
	progress  chan struct{}       // closed and replaced whenever a node confirms, comes or goes

	ledger     ledger
	sessionIDs []NodeID      // of the nodes with a session, ascending
	budgetsDue chan struct{} // capacity 1; see SaveBudgets
	violations uint64        // of invariants
}

// keyState is a key with all that is known about it.
type keyState struct {
	key     Key
	health  Health    // what is true
	told    Health    // what nodes have been told: differs only while a permission waits to be saved
	since   time.Time // when the phase began
	probe   probe     // the probe that runs now
	asked   NodeID    // who was asked last: another one is next, if there is one
	vain    int       // probes in a row after a cool-down that taught nothing
	again   time.Time // when nodes were told last that its cool-down goes on beyond its end
	pause   pause     // what it has to wait for besides, once it is not out for something worse
	wronged bool      // put away while its provider rejected everybody
	accuser NodeID    // whose report took it out of use; empty: no single node's
	ended   bool      // nodes have been told that an operator's disable is over
	alone   time.Time // since when its strikes lack the proof that other keys serve; zero: they have it
	softOut bool      // counted in its provider's softOut
	staleAt uint64    // the revision that made its MaxStale what it is, or looser
}

type probe struct {
	node  NodeID // empty: none runs
	until time.Time
	told  bool // the node has been told: not once more, or it would ask twice
}

func (p probe) runs(now time.Time) bool { return p.node != "" && now.Before(p.until) }

// New makes an empty pool; Load fills it.
func New(cfg Config) *Pool {
	return &Pool{
		cfg: cfg, keys: map[KeyID]*keyState{}, tokens: map[TokenID]Token{}, providers: map[ProviderID]*providerState{},
		nodes: map[NodeID]*node{}, out: map[KeyID]*keyState{}, timed: map[KeyID]*keyState{}, cut: map[KeyID]time.Time{},
		unsaved: map[KeyID]struct{}{}, progress: make(chan struct{}),
		ledger: newLedger(), budgetsDue: make(chan struct{}, 1),
	}
}

// Load takes what the store held at the start; it is called once, before anything else. Health of another generation than
// the key's is void.
func (p *Pool) Load(now time.Time, changes []Change, held []Health) {
	p.ledger.loading, p.ledger.windows = true, windowsAt(now)
	p.Apply(now, changes)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.loading, p.ledger.used = false, p.lastUseLocked()
	for _, h := range held {
		k := p.keys[h.Key]
		if k == nil || k.key.Generation != h.Generation || h.Phase > maxPhase {
			continue
		}
		k.health, k.told, k.since = h, h, now
		p.indexLocked(k)
	}
}

// Apply takes committed changes, in the order of their revisions. The store calls it before it answers whoever made them.
func (p *Pool) Apply(now time.Time, changes []Change) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range changes {
		p.revision = max(p.revision, c.Revision)
		switch {
		case c.Key != nil:
			p.putKeyLocked(now, *c.Key)
		case c.Token != nil:
			p.tokens[c.Token.ID] = *c.Token
			p.boundLocked(now, account{LimitOfToken, uint64(c.Token.ID)}, demandID{token: c.Token.ID}, c.Token.Limits)
			p.touchLocked(func(s *Session) { s.tokens[c.Token.ID] = struct{}{} })
		case c.Provider != nil:
			p.putProviderLocked(*c.Provider)
		case c.Node != nil:
			p.putNodeLocked(*c.Node)
		case c.RemovedKey != 0:
			p.removeKeyLocked(now, c.RemovedKey, c.CutTime)
		case c.RemovedToken != 0:
			delete(p.tokens, c.RemovedToken)
			p.boundLocked(now, account{LimitOfToken, uint64(c.RemovedToken)}, demandID{token: c.RemovedToken}, Limits{})
			p.touchLocked(func(s *Session) { s.tokens[c.RemovedToken] = struct{}{} })
		case c.RemovedProvider != "":
			delete(p.providers, c.RemovedProvider)
			p.forgetClearsLocked(c.RemovedProvider)
			p.touchLocked(func(s *Session) { s.providers[c.RemovedProvider] = struct{}{} })
		}
	}
}

func (p *Pool) putKeyLocked(now time.Time, key Key) {
	k := p.keys[key.ID]
	if k == nil {
		k = &keyState{since: now}
		p.keys[key.ID] = k
		at, _ := slices.BinarySearch(p.order, key.ID)
		p.order = slices.Insert(p.order, at, key.ID)
		if pr := p.providers[key.Provider]; pr != nil {
			pr.keys++
		}
	}
	before := k.key
	k.key, k.ended = key, false
	delete(p.cut, key.ID)
	if before.ID == 0 {
		p.boundKeyLocked(now, nil, &key)
	} else {
		p.boundKeyLocked(now, &before, &key)
	}
	if k.health.Generation != key.Generation { // new, or put back by an operator: a clean slate
		k.health = Health{Key: key.ID, Generation: key.Generation}
		k.since, k.probe, k.accuser, k.pause, k.wronged = now, probe{}, "", pause{}, false
		if account := p.accountsPauseLocked(now, key); account.holds(now) { // what the account waits for, it waits for too
			k.health.Phase, k.health.Reason, k.health.Until = Cooling, account.reason, account.until
		}
		k.told = k.health
		p.unsaved[key.ID] = struct{}{}
	} else if before.Group != key.Group {
		p.coolWithLocked(now, k, p.accountsPauseLocked(now, key), 0)
	}
	k.noteStaleLocked(before)
	p.indexLocked(k)
	if before.ID != 0 && (before.Disabled != key.Disabled || before.Generation != key.Generation) {
		p.changedLocked(now, k)
	}
	if !key.ExpireTime.IsZero() || key.Disabled {
		p.timed[key.ID] = k
	}
	// Whatever restricts goes the urgent way: a disable, also one after another whose time is over, and the end of it.
	urgent := before.ID != 0 && (before.Disabled || key.Disabled || before.Generation != key.Generation)
	_, out := p.out[key.ID]
	p.eachSessionLocked(func(s *Session) {
		held := before.ID != 0 && s.mayHold(before, now)
		if !s.mayHold(key, now) {
			if held {
				s.removeKey(key.ID)
			}
			return
		}
		delete(s.removed, key.ID) // the node need not hear of a removal that is over: it would follow the health
		s.keys[key.ID] = struct{}{}
		if urgent || (out && !held) {
			s.health[key.ID] = struct{}{}
		}
	})
	p.wakeLocked()
}

func (p *Pool) removeKeyLocked(now time.Time, id KeyID, cut time.Time) {
	if !cut.IsZero() {
		p.cut[id] = cut
	}
	k := p.keys[id]
	if k == nil {
		return
	}
	k.health = Health{}
	p.indexLocked(k)
	if pr := p.providers[k.key.Provider]; pr != nil {
		pr.keys--
	}
	delete(p.keys, id)
	p.boundKeyLocked(now, &k.key, nil)
	delete(p.out, id)
	delete(p.timed, id)
	p.unsaved[id] = struct{}{} // its row has to go
	if at, found := slices.BinarySearch(p.order, id); found {
		p.order = slices.Delete(p.order, at, at+1)
	}
	p.touchLocked(func(s *Session) { s.removeKey(id) })
}

func (p *Pool) putProviderLocked(pr Provider) {
	st := p.providers[pr.ID]
	if st == nil {
		st = &providerState{}
		p.providers[pr.ID] = st
		for _, k := range p.keys { // loaded in any order
			if k.key.Provider == pr.ID {
				st.keys++
			}
		}
	}
	st.provider = pr
	p.touchLocked(func(s *Session) { s.providers[pr.ID] = struct{}{} })
}

// indexLocked keeps `out`, and the provider's count of keys that are out for soft reasons, in step with the key's phase.
func (p *Pool) indexLocked(k *keyState) {
	softOut := k.health.Phase == AutoOff && k.health.Reason.soft()
	if pr := p.providers[k.key.Provider]; pr != nil && softOut != k.softOut {
		pr.softOut += map[bool]int{true: 1, false: -1}[softOut]
	}
	k.softOut = softOut
	if k.health.Phase == Healthy {
		delete(p.out, k.key.ID)
		return
	}
	p.out[k.key.ID] = k
}

// touchLocked marks something for every session and wakes their senders.
func (p *Pool) touchLocked(mark func(*Session)) {
	p.eachSessionLocked(mark)
	p.wakeLocked()
}

func (p *Pool) eachSessionLocked(do func(*Session)) {
	for _, n := range p.nodes {
		if n.session != nil {
			do(n.session)
		}
	}
}

func (p *Pool) wakeLocked() {
	p.urgent++
	p.eachSessionLocked((*Session).wake)
}

// progressLocked lets every Receipt look again.
func (p *Pool) progressLocked() {
	close(p.progress)
	p.progress = make(chan struct{})
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	ids := make([]K, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
