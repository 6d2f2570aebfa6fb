package adminapi

import (
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// applyCache sets whether, and for how long, a provider's whole answers are kept. Only one time is remembered, so one that
// is given while none are kept would be lost: it is refused, unless the same message says that none are to be kept.
func applyCache(p *pool.Provider, to *adminv1.ResponseCache, enabled, ttl bool) *refusal {
	on := p.CacheTTL > 0
	if enabled {
		on = to.GetEnabled()
	}
	given := ttl && to != nil && to.Ttl != nil
	switch {
	case !on && given && to.Enabled == nil:
		return invalid("cache.ttl", "is of no use while no answers are kept: set cache.enabled too")
	case !on:
		p.CacheTTL = 0
	case given:
		p.CacheTTL = seconds(to.GetTtl())
	case ttl || p.CacheTTL == 0:
		p.CacheTTL = pool.DefaultCacheTTL
	}
	return nil
}

// wireCache tells no time of a cache that is off.
func wireCache(ttl time.Duration) *adminv1.ResponseCache {
	w := &adminv1.ResponseCache{Enabled: new(ttl > 0)}
	if ttl > 0 {
		w.Ttl = new(ttl.Seconds())
	}
	return w
}
