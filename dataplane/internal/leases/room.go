package leases

import (
	"context"
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// roomChanged puts the keys of an account in or out: it has become busy or free.
func (b *Book) roomChanged(a *capacity.Account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.under[a] {
		b.refreshLocked(k)
	}
}

// accountLocked answers what counts the key's use; nil: it has no limits and is alone. Keys of one account share it.
func (b *Book) accountLocked(k *leasev1.UpstreamKey) *capacity.Account {
	w := k.GetLimits()
	l := capacity.Limits{Hard: w.GetPolicy() != leasev1.Policy_POLICY_SOFT, Most: capacity.Amounts{
		capacity.Requests: w.GetRequestsPerMinute(), capacity.Tokens: w.GetTokensPerMinute(), capacity.Concurrency: w.GetMaxConcurrent(),
		capacity.RequestsDay: w.GetRequestsPerDay(), capacity.TokensDay: w.GetTokensPerDay(),
	}}
	if l.IsZero() && k.GetGroupId() == 0 {
		return nil
	}
	name := capacity.Name{Kind: capacity.Key, ID: k.GetId()}
	if k.GetGroupId() != 0 {
		name = capacity.Name{Kind: capacity.Group, ID: k.GetGroupId()}
	}
	a := b.shares.Account(name, l)
	for _, sibling := range b.under[a] {
		b.refreshLocked(sibling)
	}
	return a
}

// countUnderLocked has the key counted under the account of its lease from now on, and not under the former one.
func (b *Book) countUnderLocked(k *Key, was, is *capacity.Account) {
	if was == is {
		return
	}
	if was != nil {
		b.under[was] = slices.DeleteFunc(b.under[was], func(o *Key) bool { return o == k })
		if len(b.under[was]) == 0 {
			delete(b.under, was)
		}
	}
	if is != nil {
		b.under[is] = append(b.under[is], k)
	}
}

// siblingsLocked answers the keys of the account that this copy of a key belongs to, itself included; none if it is alone.
func (b *Book) siblingsLocked(of *leased) []*Key {
	if of.account == nil || of.account.Name().Kind != capacity.Group {
		return nil
	}
	return b.under[of.account]
}

// tokenAccount answers what counts a token's use; nil: it has no limits.
func (b *Book) tokenAccount(t *leasev1.ClientToken) (*capacity.Account, capacity.Limits) {
	w := t.GetLimits()
	l := capacity.Limits{Hard: w.GetPolicy() != leasev1.Policy_POLICY_SOFT, Most: capacity.Amounts{
		capacity.Requests: w.GetRequestsPerMinute(), capacity.Tokens: w.GetTokensPerMinute(), capacity.Concurrency: w.GetMaxConcurrent(),
		capacity.RequestsDay: w.GetRequestsPerDay(), capacity.TokensDay: w.GetTokensPerDay(),
		capacity.RequestsMonth: w.GetRequestsPerMonth(), capacity.TokensMonth: w.GetTokensPerMonth(),
	}}
	if l.IsZero() {
		return nil, capacity.Limits{}
	}
	return b.shares.Account(capacity.Name{Kind: capacity.Token, ID: t.GetId()}, l), l
}

// keepSharesLocked forgets the shares of what a full sync has not named.
func (b *Book) keepSharesLocked() { b.shares.Keep(b.countedLocked()) }

// sweepShares forgets the shares of keys and tokens that have gone, once they are given back.
func (b *Book) sweepShares() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shares.Sweep(b.countedLocked())
}

// countedLocked says of an account whether the node holds anything that it counts.
func (b *Book) countedLocked() func(capacity.Name) bool {
	groups := map[capacity.Name]struct{}{}
	for a := range b.under {
		groups[a.Name()] = struct{}{}
	}
	return func(n capacity.Name) bool {
		switch n.Kind {
		case capacity.Token:
			return b.tokens.Has(n.ID)
		case capacity.Key:
			return b.keys[KeyID(n.ID)] != nil
		default:
			_, here := groups[n]
			return here
		}
	}
}

// AskWait is the longest that a request waits for the control plane, and only when its node's share has no room for it.
const AskWait = 250 * time.Millisecond

// Acquire asks the control plane for capacity for a request that its token's share has no room for, and waits until it has come,
// for at most AskWait. It says whether the request may try again.
func (b *Book) Acquire(ctx context.Context, of capacity.Name, tokens uint64) bool {
	return b.asker.ask(ctx, b.now, want{name: of}, tokens)
}

// askForKeys asks for capacity of any of the provider's keys, for those who wait in its queue and those who come next.
func (b *Book) askForKeys(provider string, tokens uint64) {
	b.asker.start(b.now, want{provider: provider}, tokens)
}
