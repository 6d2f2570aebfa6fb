package answers

import (
	"crypto/sha256"
	"sync"
	"time"
)

// shard keeps the answers to a share of all keys, in its share of the memory. Whatever it does it does alone: no lock is taken
// under its own.
type shard struct {
	limit int64

	mu      sync.Mutex // guards all below and what is in it, but for the answers, which never change
	bySum   map[[sha256.Size]byte]*entry
	ring    entry // not an answer: newest is ring.older, oldest is ring.newer, by when they were last asked for
	bytes   int64 // the sum of the entries' sizes, never above limit
	shelves map[string]*shelf
	clears  uint64 // the last generation of any shelf
}

// shelf is what is known of one provider's answers. Its counts outlive them.
type shelf struct {
	generation   uint64 // from 1; a new number with each clear, and never that of another shelf: what was asked before is not kept
	answers      int
	bytes        int64
	hits, misses uint64
}

type entry struct {
	answer       Answer
	sum          [sha256.Size]byte
	shelf        *shelf
	generation   uint64 // of the shelf when the question was asked
	until        time.Time
	size         int64
	newer, older *entry
}

func (s *shard) init(limit int64) {
	s.limit = limit
	s.bySum, s.shelves = map[[sha256.Size]byte]*entry{}, map[string]*shelf{}
	s.ring.newer, s.ring.older = &s.ring, &s.ring
}

func (s *shard) get(k Key, now time.Time) (*Answer, Miss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.shelfLocked(k.provider)
	e := s.bySum[k.sum]
	if e != nil && now.Before(e.until) {
		p.hits++
		e.leave()
		s.joinLocked(e)
		return &e.answer, Miss{}
	}
	if e != nil {
		s.dropLocked(e)
	}
	p.misses++
	return nil, Miss{key: k, generation: p.generation}
}

func (s *shard) put(m Miss, e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.shelves[m.key.provider]
	if p == nil || p.generation != m.generation || e.size > s.limit {
		return false
	}
	if old := s.bySum[e.sum]; old != nil {
		s.dropLocked(old)
	}
	for s.bytes+e.size > s.limit {
		s.dropLocked(s.ring.newer)
	}
	e.shelf, e.generation = p, m.generation
	p.answers++
	p.bytes += e.size
	s.bytes += e.size
	s.bySum[e.sum] = e
	s.joinLocked(e)
	return true
}

func (s *shard) clear(named func(provider string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.shelves {
		if named(id) {
			s.clears++
			p.generation = s.clears
		}
	}
	s.dropAllLocked((*entry).cleared)
}

// shelfLocked answers the provider's shelf. A new one begins with a generation that no Miss has.
func (s *shard) shelfLocked(id string) *shelf {
	p := s.shelves[id]
	if p == nil {
		s.clears++
		p = &shelf{generation: s.clears}
		s.shelves[id] = p
	}
	return p
}

// joinLocked makes e the newest.
func (s *shard) joinLocked(e *entry) {
	e.newer, e.older = &s.ring, s.ring.older
	e.older.newer, s.ring.older = e, e
}

func (e *entry) cleared() bool { return e.generation != e.shelf.generation }

func (e *entry) leave() {
	e.newer.older, e.older.newer = e.older, e.newer
	e.newer, e.older = nil, nil // who still sends the answer holds no others in memory
}

func (s *shard) dropLocked(e *entry) {
	e.leave()
	delete(s.bySum, e.sum)
	e.shelf.answers--
	e.shelf.bytes -= e.size
	s.bytes -= e.size
}

func (s *shard) dropAllLocked(which func(*entry) bool) {
	for e := s.ring.older; e != &s.ring; {
		older := e.older
		if which(e) {
			s.dropLocked(e)
		}
		e = older
	}
}
