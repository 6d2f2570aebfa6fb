package leases

import (
	"sync"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// counts gathers what happened until the Reporter seals it into a batch: per (key, model) and per (token, model), so that
// its size follows what is active and not how much or how long.
type counts struct {
	mu     sync.Mutex
	keys   map[keyRow]*leasev1.KeyCounters
	tokens map[tokenRow]*leasev1.TokenCounters
	served map[model]struct{} // models that have answered: others are counted together
}

type model struct{ provider, name string }

type keyRow struct {
	key   KeyID
	model model
}

type tokenRow struct {
	token uint64
	model model
}

const (
	maxRows     = 20_000 // in a batch: about 1 MB, and below what a message may hold
	maxModels   = 1000
	otherModels = "other" // names not known to be served: any string a client makes up would be a row otherwise
)

func (c *counts) attempt(key KeyID, providerID string, a Attempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.initLocked()
	if a.Verdict.Class == provider.OK && len(c.served) < maxModels {
		c.served[model{providerID, a.Model}] = struct{}{}
	}
	row := keyRow{key, c.foldLocked(providerID, a.Model)}
	k := c.keys[row]
	if k == nil {
		k = &leasev1.KeyCounters{KeyId: uint64(key)}
		c.keys[row] = k
	}
	if a.FirstByte > 0 {
		k.FirstByteMsSum += uint64(a.FirstByte.Milliseconds())
	}
	*attemptField(k, a.Verdict.Class)++
	addUsage(a.Usage, &k.InputTokens, &k.OutputTokens, &k.EstimatedTokens)
}

func addUsage(u provider.Usage, in, out, estimated *uint64) {
	*in += u.Input
	*out += u.Output
	if u.Estimated {
		*estimated += u.Input + u.Output
	}
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
	c.mu.Lock()
	defer c.mu.Unlock()
	c.initLocked()
	row := tokenRow{r.Token, c.foldLocked(r.Provider, r.Model)}
	t := c.tokens[row]
	if t == nil {
		t = &leasev1.TokenCounters{TokenId: r.Token}
		c.tokens[row] = t
	}
	fields := [Ends]*uint64{
		EndOK: &t.Ok, EndClientError: &t.ClientError, EndLimited: &t.Limited, EndUnavailable: &t.Unavailable,
		EndUpstreamError: &t.UpstreamError, EndTruncated: &t.Truncated, EndCanceled: &t.Canceled,
	}
	*fields[r.End]++
	addUsage(r.Usage, &t.InputTokens, &t.OutputTokens, &t.EstimatedTokens)
	if r.FromCache {
		t.FromCache++
	}
}

func (c *counts) foldLocked(providerID, name string) model {
	m := model{providerID, name}
	if _, ok := c.served[m]; !ok && name != "" {
		m.name = otherModels
	}
	return m
}

func (c *counts) initLocked() {
	if c.keys == nil {
		c.keys, c.tokens = map[keyRow]*leasev1.KeyCounters{}, map[tokenRow]*leasev1.TokenCounters{}
	}
	if c.served == nil {
		c.served = map[model]struct{}{}
	}
}

// take seals what has gathered; nil: nothing has.
func (c *counts) take() *leasev1.OutcomeBatch {
	c.mu.Lock()
	keys, tokens := c.keys, c.tokens
	if len(keys)+len(tokens) <= maxRows {
		c.keys, c.tokens = nil, nil
	} else { // gathered in a long outage; the rest goes with the next batches
		keys, tokens = split(c.keys, maxRows/2), split(c.tokens, maxRows/2)
	}
	c.mu.Unlock()
	if len(keys)+len(tokens) == 0 {
		return nil
	}
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
	for row, k := range keys {
		k.Model = place(row.model)
		batch.Keys = append(batch.Keys, k)
	}
	for row, t := range tokens {
		t.Model = place(row.model)
		batch.Tokens = append(batch.Tokens, t)
	}
	return batch
}

// split takes at most n rows out of m.
func split[K comparable, V any](m map[K]V, n int) map[K]V {
	part := make(map[K]V, min(n, len(m)))
	for row, v := range m {
		if len(part) == n {
			break
		}
		part[row] = v
		delete(m, row)
	}
	return part
}

func (c *counts) empty() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.keys)+len(c.tokens) == 0
}
