package stats

import (
	"fmt"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// sums is what the counters must be, added up in the plainest way.
type sums struct {
	keys      map[pool.KeyID]AttemptCounts
	used      map[pool.KeyID]int64
	keyHours  map[pool.KeyID]map[uint32][3]uint64
	tokens    map[pool.TokenID]RequestCounts
	providers map[pool.ProviderID]ProviderStats
	models    map[modelName]RequestCounts
	hours     map[uint32]Hour
}

func (w *world) sums(upTo func(stream) uint64) sums {
	s := sums{
		map[pool.KeyID]AttemptCounts{},
		map[pool.KeyID]int64{},
		map[pool.KeyID]map[uint32][3]uint64{},
		map[pool.TokenID]RequestCounts{},
		map[pool.ProviderID]ProviderStats{},
		map[modelName]RequestCounts{},
		map[uint32]Hour{},
	}
	for st, batches := range w.plan {
		for _, b := range batches {
			if b.Seq <= upTo(st) {
				s.add(b)
			}
		}
	}
	return s
}

func (s sums) add(b Batch) {
	hour := uint32(b.SealedAt.Unix() / 3600)
	h := s.hours[hour]
	for _, d := range b.Keys {
		k, p := s.keys[d.Key], s.providers[d.Provider]
		add(k[:], d.Counts[:])
		add(p.Attempts[:], d.Counts[:])
		add(h.Attempts[:], d.Counts[:])
		s.keys[d.Key], s.providers[d.Provider] = k, p
		if d.Counts.Total() > 0 {
			s.used[d.Key] = max(s.used[d.Key], b.SealedAt.Unix())
			if s.keyHours[d.Key] == nil {
				s.keyHours[d.Key] = map[uint32][3]uint64{}
			}
			c := s.keyHours[d.Key][hour]
			add(c[:], []uint64{d.Counts.Total(), d.Counts.Success(), d.Counts.Failure()})
			s.keyHours[d.Key][hour] = c
		}
	}
	for _, d := range b.Tokens {
		m := modelName{d.Provider, d.Model}
		t, p, mc := s.tokens[d.Token], s.providers[d.Provider], s.models[m]
		add(t[:], d.Counts[:])
		add(p.Requests[:], d.Counts[:])
		add(mc[:], d.Counts[:])
		add(h.Requests[:], d.Counts[:])
		s.tokens[d.Token], s.providers[d.Provider], s.models[m] = t, p, mc
	}
	if h.Attempts != (AttemptCounts{}) || h.Requests != (RequestCounts{}) {
		s.hours[hour] = h
	}
}

// compare answers the first figure that the collector has wrong.
func (s sums) compare(c *Collector, now time.Time) error {
	for id := pool.KeyID(1); id <= 5; id++ {
		got := c.Key(id)
		if got.Counts != s.keys[id] || got.LastUsed != unixTime(s.used[id]) {
			return fmt.Errorf("key %d: got %v used %v, want %v used %v", id, got.Counts, got.LastUsed, s.keys[id], unixTime(s.used[id]))
		}
		hours := c.KeyHours(id, now)
		if len(hours) != len(s.keyHours[id]) {
			return fmt.Errorf("key %d: got %d hours, want %d", id, len(hours), len(s.keyHours[id]))
		}
		for _, h := range hours {
			if got, want := [3]uint64{h.Total, h.Success, h.Failure}, s.keyHours[id][hourOf(h.Hour)]; got != want {
				return fmt.Errorf("key %d at %v: got %v, want %v", id, h.Hour, got, want)
			}
		}
	}
	for id := pool.TokenID(1); id <= 3; id++ {
		if got := c.Token(id).Counts; got != s.tokens[id] {
			return fmt.Errorf("token %d: got %v, want %v", id, got, s.tokens[id])
		}
	}
	for _, p := range c.Providers() {
		if want := s.providers[p.Provider]; p.Attempts != want.Attempts || p.Requests != want.Requests {
			return fmt.Errorf("provider %s: got %v, want %v", p.Provider, p, want)
		}
		delete(s.providers, p.Provider)
	}
	for _, m := range c.Models("", 100) {
		if want := s.models[modelName{m.Provider, m.Model}]; m.Requests != want {
			return fmt.Errorf("model %s: got %v, want %v", m.Model, m.Requests, want)
		}
	}
	hours := c.Hours("", now)
	for _, h := range hours {
		if want := s.hours[hourOf(h.Hour)]; h.Attempts != want.Attempts || h.Requests != want.Requests {
			return fmt.Errorf("hour %v: got %v %v, want %v %v", h.Hour, h.Attempts, h.Requests, want.Attempts, want.Requests)
		}
	}
	if len(hours) != len(s.hours) {
		return fmt.Errorf("got %d hours, want %d", len(hours), len(s.hours))
	}
	for id, p := range s.providers {
		if p.Attempts != (AttemptCounts{}) || p.Requests != (RequestCounts{}) {
			return fmt.Errorf("provider %s is missing", id)
		}
	}
	return nil
}
