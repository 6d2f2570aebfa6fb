package leaseapi

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/controlplane/internal/pool"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// message puts what a node must hear into the wire's words.
func (a *API) message(o *pool.Outgoing) *leasev1.SessionResponse {
	switch {
	case o.Health != nil:
		u := &leasev1.HealthUpdate{Term: a.cfg.Store.Term(), HealthSeq: o.Health.Seq}
		for _, k := range o.Health.Keys {
			u.Keys = append(u.Keys, keyHealth(k))
		}
		return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Health{Health: u}}
	case o.Grants != nil:
		return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Grants{Grants: a.grants(o.Grants)}}
	case o.Command != nil:
		return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Command{Command: command(o.Command)}}
	default:
		return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Delta{Delta: resourceDelta(o.Delta)}}
	}
}

func command(c *pool.Command) *leasev1.NodeCommand {
	switch {
	case c.Evict:
		return &leasev1.NodeCommand{CommandSeq: c.Seq, Command: &leasev1.NodeCommand_Evict{Evict: &leasev1.Evict{}}}
	case c.Drain != nil:
		return &leasev1.NodeCommand{CommandSeq: c.Seq, Command: &leasev1.NodeCommand_DrainNode{
			DrainNode: &leasev1.DrainNode{Drain: *c.Drain},
		}}
	}
	forget := &leasev1.ClearCache{}
	for _, id := range c.Clear {
		forget.ProviderIds = append(forget.ProviderIds, string(id))
	}
	return &leasev1.NodeCommand{CommandSeq: c.Seq, Command: &leasev1.NodeCommand_ClearCache{ClearCache: forget}}
}

func keyHealth(k pool.KeyState) *leasev1.KeyHealth {
	h := &leasev1.KeyHealth{
		KeyId: uint64(k.Key), Revision: k.Revision, Generation: k.Generation, Reason: leasev1.Reason(k.Reason),
		State: leasev1.KeyHealth_STATE_CLOSED, CancelInFlight: k.Cut,
	}
	switch {
	case k.ProbeHere:
		h.State, h.ProbeHere, h.ProbeTtl = leasev1.KeyHealth_STATE_HALF_OPEN, true, durationpb.New(k.ProbeTTL)
	case k.Open:
		h.State = leasev1.KeyHealth_STATE_OPEN
	case k.Watched:
		h.State = leasev1.KeyHealth_STATE_WATCHED
	}
	if k.ExpectedIn > 0 {
		h.ExpectedIn = durationpb.New(k.ExpectedIn)
	}
	if k.OpenFor > 0 {
		h.OpenFor = durationpb.New(k.OpenFor)
	}
	return h
}

func resourceDelta(d *pool.Delta) *leasev1.ResourceDelta {
	w := &leasev1.ResourceDelta{DeltaSeq: d.Seq, CompleteRevision: d.CompleteRevision}
	for i, k := range d.Keys {
		w.Keys = append(w.Keys, upstreamKey(k, d.KeysDisabled[i]))
	}
	for _, t := range d.Tokens {
		w.Tokens = append(w.Tokens, clientToken(t))
	}
	for _, p := range d.Providers {
		w.Providers = append(w.Providers, provider(p))
	}
	for i, id := range d.RemovedKeys {
		w.Removed = append(w.Removed, &leasev1.Removed{
			Kind: leasev1.Kind_KIND_KEY, Id: uint64(id), CancelInFlight: d.RemovedKeysCut[i],
		})
	}
	for _, id := range d.RemovedTokens {
		w.Removed = append(w.Removed, &leasev1.Removed{Kind: leasev1.Kind_KIND_TOKEN, Id: uint64(id)})
	}
	for _, id := range d.RemovedProviders {
		w.Removed = append(w.Removed, &leasev1.Removed{Kind: leasev1.Kind_KIND_PROVIDER, ProviderId: string(id)})
	}
	return w
}

func upstreamKey(k pool.Key, disabled bool) *leasev1.UpstreamKey {
	w := &leasev1.UpstreamKey{
		Id: uint64(k.ID), Revision: k.Revision, Generation: k.Generation, State: leasev1.AdminState_ADMIN_STATE_ENABLED,
		ProviderId: string(k.Provider), Secret: k.Secret.Reveal(),
		Weight: uint32(k.Weight), Priority: uint32(k.Priority),
		Models: k.Models, ExpireTime: timestamp(k.ExpireTime),
		GroupId: uint64(pool.GroupIDOf(k.Provider, k.Group)), Limits: keyLimits(k.Limits),
	}
	if k.MaxStale > 0 {
		w.MaxStale = durationpb.New(k.MaxStale)
	}
	if disabled {
		w.State = leasev1.AdminState_ADMIN_STATE_DISABLED
	}
	return w
}

func clientToken(t pool.Token) *leasev1.ClientToken {
	w := &leasev1.ClientToken{
		Id: uint64(t.ID), Revision: t.Revision, Hash: t.Hash[:], Models: t.Models, ExpireTime: timestamp(t.ExpireTime),
		Limits: tokenLimits(t.Limits), Tenant: t.Tenant, Cache: t.Cache,
	}
	if t.Provider != "" {
		w.ProviderIds = []string{string(t.Provider)}
	}
	for _, p := range t.AllowedCIDRs {
		w.AllowedCidrs = append(w.AllowedCidrs, p.String())
	}
	return w
}

// tokenLimits answers nil for a token without any.
func tokenLimits(l pool.Limits) *leasev1.TokenLimits {
	if l == (pool.Limits{Hard: l.Hard}) {
		return nil
	}
	return &leasev1.TokenLimits{
		RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, MaxConcurrent: l.MaxConcurrent,
		RequestsPerDay: l.RequestsPerDay, TokensPerDay: l.TokensPerDay,
		RequestsPerMonth: l.RequestsPerMonth, TokensPerMonth: l.TokensPerMonth, Policy: policy(l),
	}
}

// keyLimits answers nil for a key without any.
func keyLimits(l pool.Limits) *leasev1.KeyLimits {
	if l == (pool.Limits{Hard: l.Hard}) {
		return nil
	}
	return &leasev1.KeyLimits{
		RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, MaxConcurrent: l.MaxConcurrent,
		RequestsPerDay: l.RequestsPerDay, TokensPerDay: l.TokensPerDay, Policy: policy(l),
	}
}

func policy(l pool.Limits) leasev1.Policy {
	if l.Hard {
		return leasev1.Policy_POLICY_HARD
	}
	return leasev1.Policy_POLICY_SOFT
}

func provider(p pool.Provider) *leasev1.Provider {
	w := &leasev1.Provider{
		Id: string(p.ID), Revision: p.Revision, BaseUrl: p.BaseURL, Dialect: p.Dialect, Enabled: p.Enabled,
		AllowPrivateAddresses: p.AllowPrivateAddresses, Headers: p.Headers,
		MaxTries: uint32(p.MaxTries), Strikes: uint32(p.Strikes),
		EjectFor: durationpb.New(p.EjectFor), ConnectTimeout: durationpb.New(p.ConnectTimeout),
		FirstByteTimeout: durationpb.New(p.FirstByteTimeout), IdleTimeout: durationpb.New(p.IdleTimeout),
		ModelAliases: p.ModelAliases, Affinity: leasev1.Affinity_AFFINITY_ON_REQUEST, Patience: durationpb.New(p.Patience),
	}
	if p.Affinity == pool.AffinityPrompt {
		w.Affinity = leasev1.Affinity_AFFINITY_PROMPT
	}
	if p.CacheTTL > 0 {
		w.CacheTtl = durationpb.New(p.CacheTTL)
	}
	return w
}

func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
