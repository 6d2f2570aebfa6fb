package adminapi

import (
	"context"
	"strconv"
	"time"

	"ollama-api-pool/controlplane/internal/caller"
	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	defaultWait = 10 * time.Second
	maxWait     = 60 * time.Second
	grantWait   = 2 * time.Second        // for what gives: there, a late node is a nuisance and no danger
	givenWait   = 250 * time.Millisecond // for a new key: they are added one after the other, also while a node is slow
)

// providerOf answers the provider that a request names, in its body or beside it; empty: none.
func providerOf(ctx context.Context, body string) (pool.ProviderID, error) {
	query := caller.Passed(ctx, caller.ProviderKey)
	switch {
	case query == "" || query == body:
		return pool.ProviderID(body), nil
	case body == "":
		return pool.ProviderID(query), nil
	default:
		return "", invalid("provider", "differs between body and query")
	}
}

// waitOf answers for how long the caller wants to wait for nodes.
func waitOf(ctx context.Context) (time.Duration, error) {
	text := caller.Passed(ctx, caller.WaitKey)
	if text == "" {
		return defaultWait, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= maxWait.Seconds()) { // so written, it refuses NaN
		return 0, invalid("wait", "must be a number of seconds from 0 to 60")
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// receipt waits until the nodes of the regions have confirmed what was just committed, but not longer than asked.
func (a *API) receipt(ctx context.Context, wait time.Duration, fits func(region string) bool) *adminv1.RevocationReceipt {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return wireReceipt(a.pool.Receipt(ctx, a.now(), fits))
}

// given waits a moment for nodes to have a new key, so that whoever was answered can use it at once.
func (a *API) given(ctx context.Context, id pool.KeyID) {
	ctx, cancel := context.WithTimeout(ctx, givenWait)
	defer cancel()
	a.pool.Given(ctx, id)
}

// keysReceipt is receipt for keys that were just disabled or deleted.
func (a *API) keysReceipt(ctx context.Context, wait time.Duration, keys []pool.Key) *adminv1.RevocationReceipt {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return wireReceipt(a.pool.KeysReceipt(ctx, a.now(), whereAny(keys), keys))
}

func wireReceipt(r pool.Receipt) *adminv1.RevocationReceipt {
	wire := &adminv1.RevocationReceipt{Acknowledged: texts(r.Acknowledged), Pending: texts(r.Pending)}
	for _, u := range r.Unreachable {
		wire.Unreachable = append(wire.Unreachable, &adminv1.UnreachableNode{Node: string(u.Node), StopsBy: stamp(u.StopsBy)})
	}
	return wire
}

func everywhere(string) bool { return true }

// whereAny answers the regions in which any of the keys may be. The pool asks it often, under its lock.
func whereAny(keys []pool.Key) func(region string) bool {
	regions := map[string]bool{}
	for _, k := range keys {
		if len(k.Regions) == 0 {
			return everywhere
		}
		for _, r := range k.Regions {
			regions[r] = true
		}
	}
	return func(region string) bool { return regions[region] }
}
