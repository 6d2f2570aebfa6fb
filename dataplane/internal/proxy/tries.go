package proxy

import (
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

const (
	maxKeys      = 8 // that one request may be tried with
	defaultTries = 3
)

// tries decides whether a request may be tried once more. Faults that name the key cost nothing but the key; all others
// share the provider's tries, and those that may be the upstream's trouble share a budget with all other requests.
type tries struct {
	left   int
	keys   int
	once   bool // the one try that a Once allows is spent
	budget *retryBudget
}

func newTries(p *provider.Provider, budget *retryBudget) tries {
	t := tries{left: p.MaxTries, keys: maxKeys, budget: budget}
	if t.left <= 0 {
		t.left = defaultTries
	}
	return t
}

// another says whether a try may follow one that came to v, and takes what it costs.
func (t *tries) another(v provider.Verdict, now time.Time) bool {
	t.keys--
	switch v.Next {
	case provider.OtherKey:
	case provider.Again:
		t.left--
	case provider.Once:
		if t.once {
			return false
		}
		t.once = true
		t.left--
	default:
		return false
	}
	if t.keys <= 0 || t.left <= 0 {
		return false
	}
	switch v.Class {
	case provider.ServerError, provider.Timeout, provider.LocalError, provider.Broken:
		return t.budget.spend(now)
	default:
		return true
	}
}

// met is what a request's failed tries came to, so that the last word to the client speaks for all of them.
type met struct {
	tries   int
	limited bool
	quota   bool
	refused bool
	wait    time.Duration // shortest that an upstream told; 0: none did
	last    provider.Verdict
}

func (m *met) add(v provider.Verdict) {
	m.tries++
	m.last = v
	switch v.Class {
	case provider.RateLimited:
		m.limited = true
	case provider.Quota:
		m.quota = true
	case provider.AuthRejected:
		m.refused = true
		return
	default:
		return
	}
	m.wait = shorter(m.wait, v.RetryAfter)
}

func shorter(a, b time.Duration) time.Duration {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// problem is what the client is told in the end: by the last try, but if that only lost its key, by what is wrong with the
// keys altogether. noKey is why no further key could be borrowed; nil if none was asked for.
func (m *met) problem(noKey *leases.NoKeyError) *problem {
	if m.tries > 0 && m.last.Next != provider.OtherKey {
		return problemOf(m.last)
	}
	wait, cooling := m.wait, false
	if noKey != nil && noKey.Cause == leases.CauseCooling {
		cooling, wait = true, shorter(m.wait, noKey.RetryAfter)
	}
	switch {
	case m.limited:
		return problemLimited(wait)
	case m.quota:
		return problemQuota(wait)
	case cooling:
		return problemLimited(wait)
	case m.refused:
		return problemAllRefused
	case noKey == nil:
		return problemOf(m.last)
	default:
		return problemNoKey(noKey.Cause)
	}
}
