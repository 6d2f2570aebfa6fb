package stats

import (
	"cmp"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// KeyStats is what a key has met.
type KeyStats struct {
	Counts                             AttemptCounts
	LastUsed, LastSuccess, LastFailure time.Time // zero: never
}

// KeyHour is an hour of a key.
type KeyHour struct {
	Hour                    time.Time
	Total, Success, Failure uint64
}

// TokenStats is what clients with a token have seen.
type TokenStats struct {
	Counts                             RequestCounts
	LastUsed, LastSuccess, LastFailure time.Time // zero: never
}

// ProviderStats are a provider's totals.
type ProviderStats struct {
	Provider pool.ProviderID
	Attempts AttemptCounts
	Requests RequestCounts
}

// ModelStats are a model's totals.
type ModelStats struct {
	Provider pool.ProviderID
	Model    string
	Requests RequestCounts
}

// Hour is an hour of a provider, or of all.
type Hour struct {
	Hour     time.Time
	Attempts AttemptCounts
	Requests RequestCounts
}

// Key answers a key's totals; zero if it was never used.
func (c *Collector) Key(id pool.KeyID) KeyStats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k := c.table.keys[id]
	if k == nil {
		return KeyStats{}
	}
	return KeyStats{k.counts, unixTime(k.last.used), unixTime(k.last.success), unixTime(k.last.failure)}
}

// KeyHours answers a key's last 48 hours, oldest first, without those in which it was not used.
func (c *Collector) KeyHours(id pool.KeyID, now time.Time) []KeyHour {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k := c.table.keys[id]
	if k == nil {
		return nil
	}
	oldest := oldestHour(now)
	var hours []KeyHour
	for h := range k.hours.all() {
		if h.hour >= oldest {
			hours = append(hours, KeyHour{hourTime(h.hour), h.counts[0], h.counts[1], h.counts[2]})
		}
	}
	slices.Reverse(hours)
	return hours
}

// KeyEvents answers a key's history, newest first; what is younger than a tick is not in it yet.
func (c *Collector) KeyEvents(id pool.KeyID) ([]pool.Event, error) { return c.store.KeyEvents(id) }

// Token answers a token's totals; zero if it was never used.
func (c *Collector) Token(id pool.TokenID) TokenStats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	t := c.table.tokens[id]
	if t == nil {
		return TokenStats{}
	}
	return TokenStats{t.counts, unixTime(t.last.used), unixTime(t.last.success), unixTime(t.last.failure)}
}

// Providers answers the totals by provider, in the order of their ids. Deleted ones are among them.
func (c *Collector) Providers() []ProviderStats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]ProviderStats, 0, len(c.table.providers))
	for id, p := range c.table.providers {
		list = append(list, ProviderStats{id, p.attempts, p.requests})
	}
	slices.SortFunc(list, func(a, b ProviderStats) int { return cmp.Compare(a.Provider, b.Provider) })
	return list
}

// Models answers the totals by model, the most used first: of one provider, or with none named of all; at most limit.
func (c *Collector) Models(provider pool.ProviderID, limit int) []ModelStats {
	c.mu.RLock()
	list := make([]ModelStats, 0, len(c.table.models))
	for m, counts := range c.table.models {
		if provider == "" || m.provider == provider {
			list = append(list, ModelStats{m.provider, m.model, *counts})
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(list, func(a, b ModelStats) int {
		return cmp.Or(cmp.Compare(b.Requests.Total(), a.Requests.Total()),
			cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model))
	})
	return list[:min(len(list), max(limit, 0))]
}

// Hours answers the last 48 hours, oldest first, without those in which nothing happened: of one provider, or with none
// named of all together.
func (c *Collector) Hours(provider pool.ProviderID, now time.Time) []Hour {
	c.mu.RLock()
	defer c.mu.RUnlock()
	oldest := oldestHour(now)
	sums := map[uint32]*Hour{}
	for id, p := range c.table.providers {
		if provider != "" && id != provider {
			continue
		}
		for h, cell := range p.hours {
			if h >= oldest {
				s := entry(sums, h)
				s.Hour = hourTime(h)
				add(s.Attempts[:], cell.attempts[:])
				add(s.Requests[:], cell.requests[:])
			}
		}
	}
	hours := make([]Hour, 0, len(sums))
	for _, s := range sums {
		hours = append(hours, *s)
	}
	slices.SortFunc(hours, func(a, b Hour) int { return a.Hour.Compare(b.Hour) })
	return hours
}

func unixTime(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0).UTC()
}
