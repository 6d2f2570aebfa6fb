package leases

import (
	"fmt"
	"maps"
	"math"
	"net/netip"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

type tokenID uint64

// beginSync starts a full sync: what is not named until it completes is gone, and health that is not told again is void.
// Until then everything held before goes on.
func (b *Book) beginSync() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full, b.sync, b.told = true, map[any]struct{}{}, map[KeyID]struct{}{}
	b.signals.connect()
}

// endSession notes that the control plane is out of reach.
func (b *Book) endSession() { b.signals.disconnect() }

// hear notes a word from the control plane. In a full sync it does not count: what it has not named yet is not unknown.
func (b *Book) hear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.full {
		b.lease.hear(b.now())
	}
}

// applyDelta takes a delta. What cannot be used is refused by name, and its former copy stays in force.
func (b *Book) applyDelta(d *leasev1.ResourceDelta) []*leasev1.Rejection {
	b.mu.Lock()
	defer b.mu.Unlock()
	var refused []*leasev1.Rejection
	if len(d.GetProviders()) > 0 || hasProviders(d.GetRemoved()) {
		refused = b.applyProvidersLocked(d)
	}
	for _, k := range d.GetKeys() {
		if err := b.putKeyLocked(k); err != nil {
			refused = append(refused, &leasev1.Rejection{
				Kind: leasev1.Kind_KIND_KEY, Id: k.GetId(), Revision: k.GetRevision(), Reason: err.Error(),
			})
		}
	}
	for _, t := range d.GetTokens() {
		if err := b.putTokenLocked(t); err != nil {
			refused = append(refused, &leasev1.Rejection{
				Kind: leasev1.Kind_KIND_TOKEN, Id: t.GetId(), Revision: t.GetRevision(), Reason: err.Error(),
			})
		}
	}
	for _, r := range d.GetRemoved() {
		switch r.GetKind() {
		case leasev1.Kind_KIND_KEY:
			b.dropKeyLocked(KeyID(r.GetId()))
			if r.GetCancelInFlight() {
				b.cutOff(KeyID(r.GetId()), everyRevision)
			}
		case leasev1.Kind_KIND_TOKEN:
			b.tokens.Remove(r.GetId())
		default: // providers are done; an unknown kind is nothing this node holds
		}
	}
	if d.GetCompleteRevision() > 0 {
		b.completeLocked()
	}
	return refused
}

// completeLocked ends a full sync if one is running, and puts keys that are new or changed into the rotation.
func (b *Book) completeLocked() {
	if b.full {
		b.full = false
		for id := range b.keys {
			if _, named := b.sync[id]; !named {
				b.dropKeyLocked(id)
			}
		}
		b.tokens.Keep(func(id uint64) bool { _, named := b.sync[tokenID(id)]; return named })
		b.keepProvidersLocked()
		b.forgetHealthLocked()
		b.sync, b.early = nil, map[KeyID]*health{}
		b.keepSharesLocked()
		b.lease.known.Store(true)
		b.vouchLocked()
	}
	b.rebuildLocked()
}

// forgetHealthLocked drops what an earlier session told and this one did not: it is over. A limit that this node met itself
// stays; it was told in Hello. One of another generation than the key's is void, also if that is a lower one: then the
// control plane was restored from a backup and has dropped what Hello told.
func (b *Book) forgetHealthLocked() {
	for id, k := range b.keys {
		h := k.state.Load()
		if _, told := b.told[id]; told || h == nil {
			continue
		}
		if !h.local || h.reason.soft() || h.generation != k.lease.Load().generation {
			k.state.Store(nil)
			b.refreshLocked(k)
		}
	}
}

func (b *Book) putKeyLocked(k *leasev1.UpstreamKey) error {
	of := &leased{
		revision: k.GetRevision(), generation: k.GetGeneration(),
		enabled:  k.GetState() == leasev1.AdminState_ADMIN_STATE_ENABLED,
		provider: k.GetProviderId(), secret: NewSecret(k.GetSecret()), models: b.listLocked(k.GetModels()),
		maxStale: staleLimit(k.GetMaxStale().AsDuration()),
		weight:   uint8(min(max(k.GetWeight(), 1), maxWeight)), priority: int32(min(k.GetPriority(), math.MaxInt32)),
	}
	if k.GetExpireTime() != nil {
		of.expires = max(k.GetExpireTime().AsTime().UnixMicro(), 1)
	}
	id := KeyID(k.GetId())
	if b.full {
		b.sync[id] = struct{}{}
	}
	switch {
	case id == 0, of.secret.IsZero(), of.provider == "", of.generation == 0:
		return fmt.Errorf("key without id, secret, provider or generation")
	case k.GetWeight() > maxWeight:
		return fmt.Errorf("weight %d is above %d", k.GetWeight(), maxWeight)
	}
	held := b.keys[id]
	of.account = b.accountLocked(k)
	if held == nil {
		held = &Key{ID: id, book: b}
		b.countUnderLocked(held, nil, of.account)
		if h := b.early[id]; h != nil {
			held.state.Store(h)
			delete(b.early, id)
		}
		held.lease.Store(of)
		b.keys[id] = held
		b.brittle.note(held, of)
		b.moved[of.provider] = struct{}{}
		return nil
	}
	was := held.lease.Load()
	if was.provider != of.provider {
		return fmt.Errorf("a key's provider never changes")
	}
	if was.generation != of.generation {
		held.marks.Store(nil)
	}
	b.countUnderLocked(held, was.account, of.account)
	held.lease.Store(of)
	b.brittle.note(held, of)
	if was.priority != of.priority || was.weight != of.weight || was.models != of.models {
		b.moved[of.provider] = struct{}{}
	}
	b.refreshLocked(held)
	return nil
}

const maxWeight = 100

// listLocked answers the one copy of this list of models; nil: there is none, all are allowed.
func (b *Book) listLocked(models []string) *modelList {
	if len(models) == 0 {
		return nil
	}
	if len(b.lists) > len(b.keys)+64 { // of keys that have gone, most of them
		clear(b.lists)
		for _, k := range b.keys {
			if l := k.lease.Load().models; l != nil {
				b.lists[listText(l.patterns)] = l
			}
		}
	}
	text := listText(models)
	l := b.lists[text]
	if l == nil {
		l = &modelList{models}
		b.lists[text] = l
	}
	return l
}

// listText is the same for the same list of models and for no other.
func listText(models []string) string {
	var text []byte
	for _, m := range models {
		text = strconv.AppendInt(text, int64(len(m)), 10)
		text = append(append(text, ':'), m...)
	}
	return string(text)
}

// dropKeyLocked wipes a key. Requests that have it finish; none starts with it.
func (b *Book) dropKeyLocked(id KeyID) {
	delete(b.early, id)
	k := b.keys[id]
	if k == nil {
		return
	}
	gone := *k.lease.Load()
	b.countUnderLocked(k, gone.account, nil)
	gone.enabled, gone.secret, gone.account = false, Secret{}, nil
	k.lease.Store(&gone)
	k.marks.Store(nil)
	delete(b.keys, id)
	delete(b.brittle.keys, id)
	b.moved[gone.provider] = struct{}{}
	b.refreshLocked(k)
}

func (b *Book) putTokenLocked(t *leasev1.ClientToken) error {
	if b.full {
		b.sync[tokenID(t.GetId())] = struct{}{}
	}
	if t.GetId() == 0 || len(t.GetHash()) != 32 {
		return fmt.Errorf("token without id or digest")
	}
	allowed, err := prefixes(t.GetAllowedCidrs())
	if err != nil {
		return err
	}
	account, limits := b.tokenAccount(t)
	b.tokens.Put(&tokens.Token{
		ID: t.GetId(), Revision: t.GetRevision(), Hash: [32]byte(t.GetHash()), Providers: t.GetProviderIds(),
		Models: t.GetModels(), ExpireTime: timeOf(t.GetExpireTime()), AllowedIPs: allowed,
		Limits: limits, Account: account,
		Tenant: t.GetTenant(), Cache: t.Cache,
	})
	return nil
}

// prefixes reads address ranges. One that cannot be read has the whole token refused: without it the token would be open to all.
func prefixes(cidrs []string) ([]netip.Prefix, error) {
	var list []netip.Prefix
	for _, s := range cidrs {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("an allowed address range cannot be read")
		}
		list = append(list, p.Masked())
	}
	return list, nil
}

func hasProviders(removed []*leasev1.Removed) bool {
	for _, r := range removed {
		if r.GetKind() == leasev1.Kind_KIND_PROVIDER {
			return true
		}
	}
	return false
}

func (b *Book) applyProvidersLocked(d *leasev1.ResourceDelta) []*leasev1.Rejection {
	var refused []*leasev1.Rejection
	next := maps.Clone(*b.providers.Load())
	for _, p := range d.GetProviders() {
		if b.full {
			b.sync[p.GetId()] = struct{}{}
		}
		if _, known := provider.Lookup(p.GetDialect()); !known || p.GetId() == "" || p.GetBaseUrl() == "" {
			refused = append(refused, &leasev1.Rejection{
				Kind: leasev1.Kind_KIND_PROVIDER, ProviderId: p.GetId(), Revision: p.GetRevision(),
				Reason: "this node does not know the provider's dialect, or its id or address is missing",
			})
			continue
		}
		next[p.GetId()] = providerOf(p)
	}
	for _, r := range d.GetRemoved() {
		if r.GetKind() == leasev1.Kind_KIND_PROVIDER {
			delete(next, r.GetProviderId())
		}
	}
	b.providers.Store(&next)
	return refused
}

func (b *Book) keepProvidersLocked() {
	next := map[string]*provider.Provider{}
	for id, p := range *b.providers.Load() {
		if _, named := b.sync[id]; named {
			next[id] = p
		}
	}
	b.providers.Store(&next)
}

func providerOf(p *leasev1.Provider) *provider.Provider {
	return &provider.Provider{
		ID: p.GetId(), Revision: p.GetRevision(), BaseURL: p.GetBaseUrl(), Dialect: p.GetDialect(), Enabled: p.GetEnabled(),
		AllowPrivateAddresses: p.GetAllowPrivateAddresses(), Headers: p.GetHeaders(),
		MaxTries: int(p.GetMaxTries()), Strikes: int(p.GetStrikes()), EjectFor: p.GetEjectFor().AsDuration(),
		ConnectTimeout: p.GetConnectTimeout().AsDuration(), FirstByteTimeout: p.GetFirstByteTimeout().AsDuration(),
		IdleTimeout: p.GetIdleTimeout().AsDuration(), ModelAliases: p.GetModelAliases(),
		PromptAffinity: p.GetAffinity() == leasev1.Affinity_AFFINITY_PROMPT,
		Patience:       p.GetPatience().AsDuration(), CacheTTL: p.GetCacheTtl().AsDuration(),
	}
}

func durationOf(d time.Duration) *durationpb.Duration { return durationpb.New(max(d, 0)) }

func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
