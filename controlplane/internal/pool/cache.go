package pool

import (
	"maps"
	"slices"
)

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

// hasClearLocked says whether there is a clear that the node has not been told of in this session.
func (s *Session) hasClearLocked() bool {
	for _, told := range s.node.clears {
		if told == 0 {
			return true
		}
	}
	return false
}

// clearLocked answers what the command of this number has the node forget.
func (s *Session) clearLocked(seq uint64) (ids []ProviderID) {
	for id, told := range s.node.clears {
		if told == 0 {
			s.node.clears[id] = seq
			ids = append(ids, id)
		}
	}
	if slices.Contains(ids, "") {
		return nil
	}
	return ids
}

// clearedLocked drops the clears that the node has confirmed.
func (s *Session) clearedLocked() {
	maps.DeleteFunc(s.node.clears, func(_ ProviderID, told uint64) bool { return told != 0 && told <= s.commandAck })
}
