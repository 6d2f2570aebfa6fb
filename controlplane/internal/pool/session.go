package pool

import (
	"slices"
	"time"
)

// node is a data plane: what is remembered of it, its session if it has one, and until when it may go on serving.
type node struct {
	record     NodeRecord
	session    *Session // nil: none
	leaseUntil time.Time
	lastSeen   time.Time
	zone       string
	version    string
	status     NodeStatus
	statusTime time.Time // when it told its status; zero: it has not
	rejections []string
	knows      uint64 // the last revision up to which it has confirmed everything, since this control plane started
	wiped      bool   // it was evicted and has confirmed that it holds nothing any more
	// What it has still to forget, by provider, "" for everything, with the command of its session that said so; 0: none has
	// yet. It outlives sessions, and has at most one entry more than there are providers.
	clears map[ProviderID]uint64

	refuted    []time.Time        // reports that probes refuted, of late
	distrusted bool               // what it reports is not acted on: see trust.go
	lookedInto time.Time          // one of its reports, though it is distrusted
	accused    map[KeyID]struct{} // keys that its reports have taken out, and nobody has looked into yet
	claims     map[claim]struct{} // rejections that it has reported beyond those
	exhausted  map[KeyID]struct{} // keys that wait for their quota on its word alone; see spent.go
	spent      map[claim]spent    // quotas that it has reported as used up beyond those

	shareEpoch uint64  // of the process whose shares are counted; 0: none was heard of since the start
	heard      bool    // it has had a session since the start, or has left
	overdue    overdue // how far it is beyond its lease
}

// NodeStatus is what a node says of itself in a heartbeat.
type NodeStatus struct {
	InFlight          int
	RequestsPerSecond float64
	Draining          bool          // it takes no new requests because it was told to
	Caches            []CacheStatus // replaced whole
}

// Hello is how a node opens a session.
type Hello struct {
	Node    NodeID
	Zone    string
	Version string
	Epoch   uint64    // given by the store to this process of the node
	Holds   []Holding // all that it has of limits
}

// Session is one node's connection: what it has still to hear. Whoever made it by Attach drains it with Next whenever Wake
// fires, and ends it with Detach. Its fields are guarded by the pool's mutex.
type Session struct {
	pool   *Pool
	node   *node
	epoch  uint64
	since  time.Time
	fenced chan struct{}
	newer  bool          // fenced by a newer process of the node
	woken  chan struct{} // capacity 1

	drainDue bool   // the node is to hear whether to drain
	evicted  bool   // the node was put out for good
	evictDue bool   // it is to hear of that
	evictSeq uint64 // the command that has told it; 0: none yet

	// What the node has not heard, by id; the latest state is looked up when it is sent.
	health    map[KeyID]struct{}
	removed   map[KeyID]struct{}
	tokens    map[TokenID]struct{}
	providers map[ProviderID]struct{}
	keys      map[KeyID]struct{}
	grants    map[LimitID]struct{}

	complete   bool // the node has been told that it holds everything
	synced     bool // the node has confirmed that
	deltaSeq   uint64
	deltaAck   uint64
	healthSeq  uint64 // of the last health update sent
	healthAck  uint64
	commandSeq uint64
	commandAck uint64
	bulk       []uint64 // deltas full of keys that are not confirmed
	marks      []mark   // what to wait for until the node has confirmed everything urgent
	confirmed  uint64   // the pool's urgent count that the node has confirmed
	grantSeq   uint64   // of the last update of shares
	grantAck   uint64
	grewSeq    uint64      // of the last one in which a share grew
	grantMarks []grantMark // what is not confirmed
}

// mark says: when these messages are confirmed, everything up to this urgent count is, and up to this revision if it is not 0.
type mark struct{ urgent, delta, health, command, revision uint64 }

const (
	keysPerDelta   = 200  // about 32 KiB
	healthPerChunk = 1000 // keys in one health update
	tokensPerDelta = 1000 // about 70 KiB, and far below what a message may hold
	bulkWindow     = 2    // unconfirmed deltas full of keys
)

func (p *Pool) putNodeLocked(r NodeRecord) {
	n := p.nodes[r.ID]
	if n == nil {
		n = &node{}
		if r.Epoch > 0 { // it may be serving under a lease of an earlier life of this control plane
			n.leaseUntil = p.cfg.Start.Add(p.cfg.leaseTTL())
		}
		p.nodes[r.ID] = n
	}
	before := n.record
	n.record = r
	if s := n.session; s != nil && s.orderLocked(before) {
		p.wakeLocked()
	}
}

// LiveLease says whether the node has a session or may still hold a lease: its name is then taken.
func (p *Pool) LiveLease(now time.Time, id NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	return n != nil && n.record.LeaveTime.IsZero() && (n.session != nil || now.Before(n.leaseUntil))
}

// SeenInThisTerm says whether the node has had a session since this control plane started.
func (p *Pool) SeenInThisTerm(id NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	return n != nil && !n.lastSeen.IsZero()
}

// Attach opens a session for a node that the store knows, and fences an older one of the same node. The node is to hear
// everything it may hold. It answers nil for an unknown node and for an epoch that has been overtaken.
func (p *Pool) Attach(now time.Time, h Hello) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[h.Node]
	if n == nil || h.Epoch < n.record.Epoch || !n.record.EvictTime.IsZero() {
		return nil
	}
	if old := n.session; old != nil {
		old.newer = h.Epoch > old.epoch
		p.detachLocked(old)
	}
	s := &Session{
		pool: p, node: n, epoch: h.Epoch, since: now,
		fenced: make(chan struct{}), woken: make(chan struct{}, 1),
		health: map[KeyID]struct{}{}, removed: map[KeyID]struct{}{}, tokens: map[TokenID]struct{}{},
		providers: map[ProviderID]struct{}{}, keys: map[KeyID]struct{}{}, grants: map[LimitID]struct{}{},
	}
	for id, k := range p.keys {
		if !s.mayHold(k.key, now) {
			continue
		}
		s.keys[id] = struct{}{}
		if k.key.CutAt(now) { // the node may have been away
			s.health[id] = struct{}{}
		}
	}
	for id := range p.tokens {
		s.tokens[id] = struct{}{}
	}
	for id := range p.providers {
		s.providers[id] = struct{}{}
	}
	for id, k := range p.out {
		if s.mayHold(k.key, now) {
			s.health[id] = struct{}{}
		}
	}
	n.session, n.zone, n.version, n.lastSeen, n.rejections, n.wiped = s, h.Zone, h.Version, now, nil, false
	n.leaseUntil = now.Add(p.cfg.leaseTTL())
	p.sessionIDs = append(p.sessionIDs, h.Node)
	slices.Sort(p.sessionIDs)
	p.arriveLocked(now, n, h.Epoch, h.Holds)
	n.repeatClearsLocked()
	s.orderLocked(NodeRecord{})
	for id := range p.cut {
		s.removed[id] = struct{}{}
	}
	p.urgent++
	s.wake()
	p.progressLocked()
	return s
}

// Renew answers a heartbeat: the life of the lease from now on. Zero: the session is fenced.
func (p *Pool) Renew(now time.Time, s *Session, status NodeStatus) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s || s.evicted {
		return 0
	}
	s.node.lastSeen, s.node.status, s.node.statusTime = now, status, now
	s.node.leaseUntil = now.Add(p.cfg.leaseTTL())
	return p.cfg.leaseTTL()
}

// Detach ends a session. The lease goes on until it runs out, unless the node left in order; then spent is what of its shares has
// not rested.
func (p *Pool) Detach(now time.Time, s *Session, left bool, spent []Holding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s {
		return
	}
	p.detachLocked(s)
	if left {
		s.node.leaseUntil = time.Time{}
		p.leaveLocked(now, s.node, spent)
	}
}

func (p *Pool) detachLocked(s *Session) {
	s.node.session = nil
	p.sessionIDs = slices.DeleteFunc(p.sessionIDs, func(id NodeID) bool { return id == s.node.record.ID })
	p.forgetDemandLocked(s.node.record.ID)
	close(s.fenced)
	for _, k := range p.out {
		if k.probe.node == s.node.record.ID {
			k.probe = probe{} // the next tick asks another node
		}
	}
	p.progressLocked()
}

// Fenced is closed when the session is over: another session of the node has come, or Detach was called.
func (s *Session) Fenced() <-chan struct{} { return s.fenced }

// Overtaken says whether what fenced the session is a newer process of the node. Another session of the same process, come
// while this one was half open, is no reason for the process to stop.
func (s *Session) Overtaken() bool {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.newer
}

// Wake fires when Next may have something.
func (s *Session) Wake() <-chan struct{} { return s.woken }

// Epoch is the node's epoch in this session.
func (s *Session) Epoch() uint64 { return s.epoch }

func (s *Session) wake() {
	select {
	case s.woken <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// mayHold says whether the node is one of the key's holders: every node of a fitting region is. A zero now asks about the
// region only.
func (s *Session) mayHold(k Key, now time.Time) bool {
	return k.FitsRegion(s.node.record.Region) && (now.IsZero() || !k.ExpiredAt(now))
}

func (s *Session) removeKey(id KeyID) {
	delete(s.keys, id)
	delete(s.health, id)
	s.removed[id] = struct{}{}
	s.wake()
}

// Ack takes what the node has applied.
func (s *Session) Ack(now time.Time, deltaSeq, healthSeq, commandSeq uint64, rejected []string) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.node.session != s {
		return
	}
	s.node.lastSeen = now
	s.deltaAck, s.healthAck = max(s.deltaAck, min(deltaSeq, s.deltaSeq)), max(s.healthAck, min(healthSeq, s.healthSeq))
	s.doneLocked(commandSeq)
	if s.node.rejections = append(s.node.rejections, rejected...); len(s.node.rejections) > 20 {
		s.node.rejections = s.node.rejections[len(s.node.rejections)-20:]
	}
	for len(s.bulk) > 0 && s.bulk[0] <= s.deltaAck {
		s.bulk = s.bulk[1:]
		s.wake()
	}
	for len(s.marks) > 0 && s.reachedLocked(s.marks[0]) {
		s.confirmed = s.marks[0].urgent
		s.node.knows = max(s.node.knows, s.marks[0].revision)
		s.marks = s.marks[1:]
	}
	if s.complete && s.deltaAck == s.deltaSeq {
		s.synced = true
	}
	p.progressLocked()
}

func (s *Session) reachedLocked(m mark) bool {
	return m.delta <= s.deltaAck && m.health <= s.healthAck && m.command <= s.commandAck
}

// SessionOf answers the session of this process of the node; nil: there is none.
func (p *Pool) SessionOf(id NodeID, epoch uint64) *Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[id]; n != nil && n.session != nil && n.session.epoch == epoch {
		return n.session
	}
	return nil
}
