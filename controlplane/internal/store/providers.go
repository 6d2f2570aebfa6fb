package store

import (
	"cmp"
	"iter"
	"maps"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// Provider answers a provider, or ErrNotFound.
func (tx *Tx) Provider(id pool.ProviderID) (pool.Provider, error) {
	b := tx.get(bucketProviders, string(id))
	if b == nil {
		return pool.Provider{}, ErrNotFound
	}
	return decodeProvider(id, b)
}

// Providers ranges over all providers in order of ids. After an error it ends.
func (tx *Tx) Providers() iter.Seq2[pool.Provider, error] {
	return records(tx, bucketProviders, func(key string, value []byte) (pool.Provider, error) {
		return decodeProvider(pool.ProviderID(key), value)
	})
}

// PutProvider adds or replaces a provider and answers it as stored: with the next revision, and the time if that was
// zero. Durations are kept to the millisecond.
func (tx *Tx) PutProvider(p pool.Provider) (pool.Provider, error) {
	if err := tx.writable(); err != nil {
		return pool.Provider{}, err
	}
	if !isName(string(p.ID)) {
		return pool.Provider{}, errNoName
	}
	p.Revision, p.CreateTime = tx.next(), tx.createTime(p.CreateTime)
	r := providerRecord(p)
	b, err := encode(r)
	if err != nil {
		return pool.Provider{}, err
	}
	tx.stage(bucketProviders, string(p.ID), b)
	stored := providerOf(r)
	tx.log(pool.Change{Revision: p.Revision, Provider: &stored}, kindProvider, opPut, string(p.ID))
	return stored, nil
}

// DeleteProvider removes a provider, or answers ErrNotFound. It leaves the provider's keys alone: see CountKeys.
func (tx *Tx) DeleteProvider(id pool.ProviderID) error {
	if err := tx.writable(); err != nil {
		return err
	}
	if tx.get(bucketProviders, string(id)) == nil {
		return ErrNotFound
	}
	tx.stage(bucketProviders, string(id), nil)
	tx.log(pool.Change{Revision: tx.next(), RemovedProvider: id}, kindProvider, opDelete, string(id))
	return nil
}

func decodeProvider(id pool.ProviderID, b []byte) (pool.Provider, error) {
	r := &storev1.ProviderRecord{}
	if err := decode(b, r, "provider "+string(id)); err != nil {
		return pool.Provider{}, err
	}
	if r.GetId() != string(id) {
		return pool.Provider{}, damaged("provider %s is in another's place", id)
	}
	return providerOf(r), nil
}

func providerRecord(p pool.Provider) *storev1.ProviderRecord {
	return &storev1.ProviderRecord{
		Id: string(p.ID), Revision: p.Revision, DisplayName: p.DisplayName, BaseUrl: p.BaseURL, Dialect: p.Dialect,
		Enabled: p.Enabled, AllowPrivateAddresses: p.AllowPrivateAddresses, Headers: p.Headers,
		MaxTries: small(p.MaxTries), Strikes: small(p.Strikes), EjectForMs: millis(p.EjectFor),
		ConnectTimeoutMs: millis(p.ConnectTimeout), FirstByteTimeoutMs: millis(p.FirstByteTimeout),
		IdleTimeoutMs: millis(p.IdleTimeout), CreateTime: stamp(p.CreateTime),
		ModelAliases: p.ModelAliases, Affinity: p.Affinity, PatienceMs: new(millis(p.Patience)), CacheTtlMs: millis(p.CacheTTL),
	}
}

// providerOf gives the defaults to what an earlier release did not know.
func providerOf(r *storev1.ProviderRecord) pool.Provider {
	p := pool.Provider{
		ID: pool.ProviderID(r.GetId()), Revision: r.GetRevision(), DisplayName: r.GetDisplayName(),
		BaseURL: r.GetBaseUrl(), Dialect: r.GetDialect(),
		Enabled: r.GetEnabled(), AllowPrivateAddresses: r.GetAllowPrivateAddresses(), Headers: maps.Clone(r.GetHeaders()),
		MaxTries: int(r.GetMaxTries()), Strikes: int(r.GetStrikes()), EjectFor: unmillis(r.GetEjectForMs()),
		ConnectTimeout: unmillis(r.GetConnectTimeoutMs()), FirstByteTimeout: unmillis(r.GetFirstByteTimeoutMs()),
		IdleTimeout: unmillis(r.GetIdleTimeoutMs()), CreateTime: unstamp(r.GetCreateTime()),
		ModelAliases: maps.Clone(r.GetModelAliases()), Affinity: cmp.Or(r.GetAffinity(), pool.AffinityOnRequest),
		Patience: pool.DefaultPatience, CacheTTL: unmillis(r.GetCacheTtlMs()),
	}
	if r.PatienceMs != nil {
		p.Patience = unmillis(r.GetPatienceMs())
	}
	return p
}
