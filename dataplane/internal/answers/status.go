package answers

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Status is what is kept of one provider's answers, and how it served.
type Status struct {
	Provider     string
	Answers      int
	Bytes        uint64 // what they take of Config.MaxBytes
	Hits, Misses uint64 // since the process began
}

// Status answers what is kept, sorted by provider. It drops what is past its time, so that nothing that a client was told stays
// in memory only because nobody asks again, and all there is of providers that are gone, counts too: call it now and then.
func (c *Cache) Status(now time.Time, gone func(provider string) bool) []Status {
	left := map[string]bool{} // provider → it is gone; asked once for each, under no lock
	for i := range c.shards {
		for _, id := range c.shards[i].providers() {
			if _, asked := left[id]; !asked {
				left[id] = gone(id)
			}
		}
	}
	sums := map[string]Status{}
	for i := range c.shards {
		c.shards[i].status(now, left, sums)
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b Status) int { return strings.Compare(a.Provider, b.Provider) })
}

func (s *shard) providers() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.shelves))
}

func (s *shard) status(now time.Time, gone map[string]bool, sums map[string]Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.shelves {
		if gone[id] {
			p.generation = 0 // no Miss has it, nor has an entry
			delete(s.shelves, id)
		}
	}
	s.dropAllLocked(func(e *entry) bool { return e.cleared() || !now.Before(e.until) })
	for id, p := range s.shelves {
		sum := sums[id]
		sums[id] = Status{
			Provider: id, Answers: sum.Answers + p.answers, Bytes: sum.Bytes + uint64(p.bytes),
			Hits: sum.Hits + p.hits, Misses: sum.Misses + p.misses,
		}
	}
}
