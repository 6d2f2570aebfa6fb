package pool

import (
	"cmp"
	"slices"
	"time"
)

// KeyView is a key with what is known about it.
type KeyView struct {
	Key     Key
	Health  Health
	Holders []NodeID // connected nodes that may hold it; only KeyView fills it
}

// KeyView answers one key.
func (p *Pool) KeyView(id KeyID) (KeyView, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.keys[id]
	if k == nil {
		return KeyView{}, false
	}
	v := KeyView{Key: k.key, Health: k.health}
	for _, node := range sortedKeys(p.nodes) {
		if s := p.nodes[node].session; s != nil && s.mayHold(k.key, time.Time{}) {
			v.Holders = append(v.Holders, node)
		}
	}
	return v, true
}

// EachKey walks the keys with ids above `after`, ascending, until yield says stop. It holds the lock only for chunks, so
// that a long walk stands in nobody's way; keys that come or go meanwhile may or may not be seen, all others are, once.
func (p *Pool) EachKey(after KeyID, yield func(KeyView) bool) {
	const chunk = 1000
	for {
		views := p.keysAfter(after, chunk)
		for _, v := range views {
			if !yield(v) {
				return
			}
		}
		if len(views) < chunk {
			return
		}
		after = views[len(views)-1].Key.ID
	}
}

func (p *Pool) keysAfter(after KeyID, limit int) []KeyView {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, _ := slices.BinarySearch(p.order, after+1)
	ids := p.order[at:min(at+limit, len(p.order))]
	views := make([]KeyView, len(ids))
	for i, id := range ids {
		views[i] = KeyView{Key: p.keys[id].key, Health: p.keys[id].health}
	}
	return views
}

// Tokens answers all tokens in the order they were made.
func (p *Pool) Tokens() []Token {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Token, 0, len(p.tokens))
	for _, t := range p.tokens {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b Token) int {
		return cmp.Or(a.CreateTime.Compare(b.CreateTime), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// Token answers one token.
func (p *Pool) Token(id TokenID) (Token, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.tokens[id]
	return t, ok
}

// Providers answers all providers by id.
func (p *Pool) Providers() []Provider {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Provider, 0, len(p.providers))
	for _, id := range sortedKeys(p.providers) {
		list = append(list, p.providers[id].provider)
	}
	return list
}

// Provider answers one provider.
func (p *Pool) Provider(id ProviderID) (Provider, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pr := p.providers[id]; pr != nil {
		return pr.provider, true
	}
	return Provider{}, false
}

// Blamed says whether the provider itself is held to be failing: its keys are then not put out.
func (p *Pool) Blamed(id ProviderID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.providers[id]
	return pr != nil && pr.blamed
}

// KeyCount counts a provider's keys.
type KeyCount struct {
	Total    int
	Active   int // can serve now
	Failed   int // suspect or auto_disabled
	ByStatus map[Status]int
}

// KeyCounts counts every provider's keys; a provider without keys has a zero count.
func (p *Pool) KeyCounts(now time.Time) map[ProviderID]KeyCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[ProviderID]KeyCount, len(p.providers))
	for id := range p.providers {
		counts[id] = KeyCount{ByStatus: map[Status]int{}}
	}
	for _, k := range p.keys {
		c, ok := counts[k.key.Provider]
		if !ok {
			c.ByStatus = map[Status]int{}
		}
		status, _, _ := StatusAt(k.key, k.health, now)
		c.Total++
		c.ByStatus[status]++
		switch status {
		case StatusActive:
			c.Active++
		case StatusSuspect, StatusAutoDisabled:
			c.Failed++
		case StatusCooling, StatusDisabled, StatusExpired:
		}
		counts[k.key.Provider] = c
	}
	return counts
}

// The states of a node.
const (
	NodeLive     = "live"     // has a session
	NodeDraining = "draining" // has a session, but an operator wants it to take no new requests
	NodeAway     = "away"     // has none, but may go on serving under lease or grace
	NodeGone     = "gone"     // can no longer serve
	NodeEvicted  = "evicted"  // an operator put it out for good; it may not have stopped yet
	NodeNever    = "never"    // joined, but never had a session
)

// NodeView is a node with what is known about it.
type NodeView struct {
	Record            NodeRecord
	Zone, Version     string
	State             string // one of the Node… constants
	Held              int    // keys it may hold
	Lag               int    // changes it has not confirmed
	InFlight          int
	RequestsPerSecond float64
	Caches            []CacheStatus
	StatusTime        time.Time // when it told the three above; zero: not since the control plane started, or no session
	ConnectedSince    time.Time // zero: no session
	LastSeen          time.Time // zero: not since the control plane started
	LeaseUntil        time.Time // zero: none
	Distrusted        bool      // what it reports of keys is not acted on: see trust.go
	Rejections        []string
}

// Connected says whether the node has a session, in whatever state it is.
func (v NodeView) Connected() bool { return !v.ConnectedSince.IsZero() }

// Nodes answers all nodes by id.
func (p *Pool) Nodes(now time.Time) []NodeView {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]NodeView, 0, len(p.nodes))
	for _, id := range sortedKeys(p.nodes) {
		n := p.nodes[id]
		v := NodeView{
			Record: n.record, Zone: n.zone, Version: n.version, State: p.nodeStateLocked(n, now),
			LastSeen: n.lastSeen, LeaseUntil: n.leaseUntil, Rejections: slices.Clone(n.rejections), Distrusted: n.distrusted,
		}
		if s := n.session; s != nil {
			v.InFlight, v.RequestsPerSecond, v.ConnectedSince = n.status.InFlight, n.status.RequestsPerSecond, s.since
			v.Caches, v.StatusTime = n.status.Caches, n.statusTime
			v.Held, v.Lag = p.heldLocked(s), s.lagLocked()
		}
		list = append(list, v)
	}
	return list
}

func (p *Pool) nodeStateLocked(n *node, now time.Time) string {
	switch {
	case !n.record.EvictTime.IsZero():
		return NodeEvicted
	case n.session != nil && n.record.Drained:
		return NodeDraining
	case n.session != nil:
		return NodeLive
	case n.record.Epoch == 0:
		return NodeNever
	case p.stopsByLocked(n).After(now):
		return NodeAway
	default:
		return NodeGone
	}
}

func (p *Pool) heldLocked(s *Session) int {
	held := 0
	for _, k := range p.keys {
		if s.mayHold(k.key, time.Time{}) {
			held++
		}
	}
	return held
}

// lagLocked counts what the node has not confirmed: what is still to be sent, and messages under way.
func (s *Session) lagLocked() int {
	return len(s.health) + len(s.removed) + len(s.tokens) + len(s.providers) + len(s.keys) + len(s.node.clears) +
		int(s.deltaSeq-s.deltaAck)
}

// Configured says of every provider whether it has a key. Its cost does not follow the number of keys: anyone may ask.
func (p *Pool) Configured() map[ProviderID]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	has := make(map[ProviderID]bool, len(p.providers))
	for id, pr := range p.providers {
		has[id] = pr.keys > 0
	}
	return has
}

// Exists says whether there is such a key, and ExistsToken whether there is such a token.
func (p *Pool) Exists(id KeyID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[id] != nil
}

// ExistsToken says whether there is such a token.
func (p *Pool) ExistsToken(id TokenID) bool {
	_, ok := p.Token(id)
	return ok
}
