package pool

import (
	"maps"
	"slices"
)

// Command is something that a node is to do once. It is told again in the next session if this one ends before the node has
// confirmed it, so it must do no harm when it is done twice.
type Command struct {
	Seq   uint64
	Clear []ProviderID // whose answers are to be forgotten; empty: everybody's
}

// CacheStatus is what a node keeps of one provider's answers.
type CacheStatus struct {
	Provider     ProviderID
	Lists, Bytes uint64 // lists of models, and their size
	Hits, Misses uint64 // since the node started

	Answers, AnswerBytes     uint64 // whole answers, and their size
	AnswerHits, AnswerMisses uint64 // since the node started
}

// ClearCaches has every node that may come back forget what it keeps of a provider's answers; of "": everything. A node that
// is away hears of it when it is back, unless this control plane ends before: what is owed is not saved, because nothing
// outlives its own time, which for lists of models is minutes and for whole answers a day at the most.
func (p *Pool) ClearCaches(provider ProviderID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if provider != "" && p.providers[provider] == nil {
		return // gone since the caller looked, and nobody asks for its answers any more
	}
	for _, n := range p.nodes {
		if n.record.Epoch > 0 {
			n.oweClearLocked(provider)
		}
	}
	p.wakeLocked()
}

// oweClearLocked adds a clear. One that was told already is told again: the node may have fetched something since.
func (n *node) oweClearLocked(provider ProviderID) {
	if told, all := n.clears[""]; all && told == 0 {
		return
	}
	if provider == "" || n.clears == nil {
		n.clears = map[ProviderID]uint64{}
	}
	n.clears[provider] = 0
}

// repeatClearsLocked has a new session tell whatever the node has not confirmed.
func (n *node) repeatClearsLocked() {
	for id := range n.clears {
		n.clears[id] = 0
	}
}

// forgetClearsLocked drops the clears of a provider that is gone: nodes drop what they keep of it by themselves.
func (p *Pool) forgetClearsLocked(id ProviderID) {
	for _, n := range p.nodes {
		delete(n.clears, id)
	}
}

// hasCommandLocked says whether there is a clear that the node has not been told of in this session.
func (s *Session) hasCommandLocked() bool {
	for _, told := range s.node.clears {
		if told == 0 {
			return true
		}
	}
	return false
}

func (s *Session) commandLocked() *Command {
	s.commandSeq++
	c := &Command{Seq: s.commandSeq}
	for id, told := range s.node.clears {
		if told == 0 {
			s.node.clears[id] = c.Seq
			c.Clear = append(c.Clear, id)
		}
	}
	if slices.Contains(c.Clear, "") {
		c.Clear = nil
	}
	return c
}

// doneLocked takes the node's confirmation of everything up to this command.
func (s *Session) doneLocked(commandSeq uint64) {
	s.commandAck = max(s.commandAck, min(commandSeq, s.commandSeq))
	maps.DeleteFunc(s.node.clears, func(_ ProviderID, told uint64) bool { return told != 0 && told <= s.commandAck })
}
