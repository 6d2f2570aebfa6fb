package leases

import (
	"sync"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// counts gathers what happened until the Reporter seals it into a batch: per (key, model) and per (token, model), so that
// its size follows what is active and not how much or how long.
//
// The rows are spread over shards by key and by token, each with a lock of its own, so that requests hardly ever meet there. A
// row is in one shard only; a batch is the shards' rows put together. What is counted while a batch is sealed is in that batch
// or in the next, never in both.
type counts struct {
	models models
	shards [countShards]countShard

	mu   sync.Mutex // one batch at a time
	from int        // the shard that the next batch begins with, so that a full batch leaves none behind for ever
}

const countShards = 64

// countShard fills cache lines of its own.
type countShard struct {
	mu     sync.Mutex
	keys   map[keyRow]*leasev1.KeyCounters
	tokens map[tokenRow]*leasev1.TokenCounters
	_      [128 - 24]byte
}

type keyRow struct {
	key   KeyID
	model model
}

type tokenRow struct {
	token uint64
	model model
}

const maxRows = 20_000 // in a batch, half of keys and half of tokens: about 1 MB, and below what a message may hold

func (c *counts) shard(id uint64) *countShard {
	return &c.shards[id*0x9e3779b97f4a7c15>>(64-6)] // 64 shards
}

// modelOf answers the model whose row an attempt is counted in. One that was answered makes its model known.
func (c *counts) modelOf(providerID string, a Attempt) model {
	if a.Verdict.Class == provider.OK {
		c.models.serve(providerID, a.Model)
	}
	return c.models.fold(providerID, a.Model)
}

func (c *counts) attempt(key KeyID, providerID string, a Attempt) {
	row := keyRow{key, c.modelOf(providerID, a)}
	s := c.shard(uint64(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[row]
	if k == nil {
		k = &leasev1.KeyCounters{KeyId: uint64(key)}
		if s.keys == nil {
			s.keys = map[keyRow]*leasev1.KeyCounters{}
		}
		s.keys[row] = k
	}
	addAttempt(k, a)
}

func addAttempt(k *leasev1.KeyCounters, a Attempt) {
	if a.FirstByte > 0 {
		k.FirstByteMsSum += uint64(a.FirstByte.Milliseconds())
	}
	k.InputTokens += a.Usage.Input
	k.OutputTokens += a.Usage.Output
	if a.Usage.Estimated {
		k.EstimatedTokens += a.Usage.Input + a.Usage.Output
	}
	*attemptField(k, a.Verdict.Class)++
}

func attemptField(k *leasev1.KeyCounters, c provider.Class) *uint64 {
	switch c {
	case provider.OK:
		return &k.Ok
	case provider.ClientError:
		return &k.ClientError
	case provider.Forbidden:
		return &k.Forbidden
	case provider.RateLimited:
		return &k.RateLimited
	case provider.Quota:
		return &k.Quota
	case provider.AuthRejected:
		return &k.AuthError
	case provider.ServerError:
		return &k.ServerError
	case provider.Timeout:
		return &k.Timeout
	case provider.Broken:
		return &k.Broken
	case provider.Truncated:
		return &k.Truncated
	case provider.Canceled:
		return &k.Canceled
	default: // LocalError, and what no rule knows
		return &k.LocalError
	}
}

func (c *counts) request(r Request) {
	row := tokenRow{r.Token, c.models.fold(r.Provider, r.Model)}
	s := c.shard(r.Token)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[row]
	if t == nil {
		t = &leasev1.TokenCounters{TokenId: r.Token}
		if s.tokens == nil {
			s.tokens = map[tokenRow]*leasev1.TokenCounters{}
		}
		s.tokens[row] = t
	}
	addRequest(t, r)
}

func addRequest(t *leasev1.TokenCounters, r Request) {
	t.InputTokens += r.Usage.Input
	t.OutputTokens += r.Usage.Output
	if r.Usage.Estimated {
		t.EstimatedTokens += r.Usage.Input + r.Usage.Output
	}
	if r.FromCache {
		t.FromCache++
	}
	*requestField(t, r.End)++
}

func requestField(t *leasev1.TokenCounters, e End) *uint64 {
	switch e {
	case EndOK:
		return &t.Ok
	case EndClientError:
		return &t.ClientError
	case EndLimited:
		return &t.Limited
	case EndUnavailable:
		return &t.Unavailable
	case EndUpstreamError:
		return &t.UpstreamError
	case EndTruncated:
		return &t.Truncated
	default:
		return &t.Canceled
	}
}

// take seals what has gathered; nil: nothing has. What does not fit into a batch, after a long outage, goes with the next.
func (c *counts) take() *leasev1.OutcomeBatch {
	c.mu.Lock()
	defer c.mu.Unlock()
	batch, index := &leasev1.OutcomeBatch{}, map[model]uint32{}
	place := func(m model) uint32 {
		at, ok := index[m]
		if !ok {
			at = uint32(len(batch.Models))
			index[m] = at
			batch.Models = append(batch.Models, &leasev1.ModelRef{ProviderId: m.provider, Name: m.name})
		}
		return at
	}
	for i := range c.shards {
		s := &c.shards[(c.from+i)%countShards]
		s.mu.Lock()
		keys := part(&s.keys, maxRows/2-len(batch.Keys))
		tokens := part(&s.tokens, maxRows/2-len(batch.Tokens))
		s.mu.Unlock()
		for row, k := range keys {
			k.Model = place(row.model)
			batch.Keys = append(batch.Keys, k)
		}
		for row, t := range tokens {
			t.Model = place(row.model)
			batch.Tokens = append(batch.Tokens, t)
		}
	}
	c.from = (c.from + 1) % countShards
	if len(batch.Keys)+len(batch.Tokens) == 0 {
		return nil
	}
	return batch
}

// part takes at most n rows out of the map; all of them take the map itself.
func part[K comparable, V any](from *map[K]V, n int) map[K]V {
	if len(*from) <= n {
		all := *from
		*from = nil
		return all
	}
	some := make(map[K]V, n)
	for row, v := range *from {
		if len(some) == n {
			break
		}
		some[row] = v
		delete(*from, row)
	}
	return some
}

func (c *counts) empty() bool {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		left := len(s.keys) + len(s.tokens)
		s.mu.Unlock()
		if left > 0 {
			return false
		}
	}
	return true
}
