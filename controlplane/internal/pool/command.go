package pool

// Command is something that a node is to do; one of Drain, Evict and Clear is meant. It is told again in the next session if
// this one ends before the node has confirmed it, so it must do no harm when it is done twice.
type Command struct {
	Seq   uint64
	Drain *bool        // take no new requests, or take them again
	Evict bool         // forget everything and stop
	Clear []ProviderID // else: whose answers are to be forgotten; empty: everybody's
}

// hasCommandLocked says whether there is something to be done that the node has not been told of in this session.
func (s *Session) hasCommandLocked() bool { return s.drainDue || s.evictDue || s.hasClearLocked() }

func (s *Session) commandLocked() *Command {
	s.commandSeq++
	c := &Command{Seq: s.commandSeq}
	switch {
	case s.evictDue:
		s.evictDue, s.evictSeq, c.Evict = false, c.Seq, true
	case s.drainDue:
		s.drainDue, c.Drain = false, new(s.node.record.Drained)
	default:
		c.Clear = s.clearLocked(c.Seq)
	}
	return c
}

// doneLocked takes the node's confirmation of everything up to this command.
func (s *Session) doneLocked(commandSeq uint64) {
	s.commandAck = max(s.commandAck, min(commandSeq, s.commandSeq))
	s.clearedLocked()
	if s.evictSeq != 0 && s.evictSeq <= s.commandAck { // it holds nothing any more
		s.node.wiped = true
		s.pool.detachLocked(s)
	}
}

// orderLocked has the session tell what the node's record says of the operator's will. A node takes a session that says nothing
// of a drain until its sync is complete for one that has none.
// It answers whether there is something to tell.
func (s *Session) orderLocked(before NodeRecord) bool {
	now := s.node.record
	if before.Drained != now.Drained {
		s.drainDue = true
	}
	if s.evicted = !now.EvictTime.IsZero(); s.evicted && before.EvictTime.IsZero() {
		s.evictDue = true
	}
	return s.drainDue || s.evictDue
}

// Evicted says whether an operator has put the node out for good.
func (p *Pool) Evicted(id NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	return n != nil && !n.record.EvictTime.IsZero()
}

// PutOut says whether an operator has put the node out for good and its last session is over.
func (p *Pool) PutOut(id NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[id]
	return n != nil && !n.record.EvictTime.IsZero() && n.session == nil
}

// Evicted says whether the session's node was put out for good, and wiped whether it has confirmed that it holds nothing.
func (s *Session) Evicted() (evicted, wiped bool) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return s.evicted, s.node.wiped
}
