package store

import (
	"iter"
	"net/netip"
	"slices"

	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// Token answers a client token, or ErrNotFound.
func (tx *Tx) Token(id pool.TokenID) (pool.Token, error) {
	b := tx.get(bucketTokens, string(number(uint64(id))))
	if b == nil {
		return pool.Token{}, ErrNotFound
	}
	return decodeToken(id, b)
}

// TokenByHash finds a token by the SHA-256 of the whole.
func (tx *Tx) TokenByHash(hash [32]byte) (pool.TokenID, bool) {
	b := tx.get(bucketTokensByHash, string(hash[:]))
	return pool.TokenID(parseNumber(b)), b != nil
}

// Tokens ranges over all tokens in order of ids. After an error it ends.
func (tx *Tx) Tokens() iter.Seq2[pool.Token, error] {
	return records(tx, bucketTokens, func(key string, value []byte) (pool.Token, error) {
		return decodeToken(pool.TokenID(parseNumber([]byte(key))), value)
	})
}

// PutToken adds or replaces a token and answers it as stored: with the next revision, and where the fields were zero with
// a new id and the time. It answers ErrExists if another token has the hash.
func (tx *Tx) PutToken(t pool.Token) (pool.Token, error) {
	if err := tx.writable(); err != nil {
		return pool.Token{}, err
	}
	if t.ID == 0 {
		t.ID = tx.newTokenID()
	}
	old, err := tx.Token(t.ID)
	if err != nil && !isNotFound(err) {
		return pool.Token{}, err
	}
	if other, ok := tx.TokenByHash(t.Hash); ok && other != t.ID {
		return pool.Token{}, ErrExists
	}
	existed := err == nil
	t.Revision, t.CreateTime = tx.next(), tx.createTime(t.CreateTime)
	r := tokenRecord(t)
	b, err := encode(r)
	if err != nil {
		return pool.Token{}, err
	}

	id := string(number(uint64(t.ID)))
	if existed {
		tx.stage(bucketTokensByHash, string(old.Hash[:]), nil)
	}
	tx.stage(bucketTokensByHash, string(t.Hash[:]), []byte(id))
	tx.stage(bucketTokens, id, b)
	stored, err := tokenOf(r)
	if err != nil {
		return pool.Token{}, err
	}
	tx.log(pool.Change{Revision: t.Revision, Token: &stored}, kindToken, opPut, id)
	return stored, nil
}

// DeleteToken removes a token for ever, or answers ErrNotFound.
func (tx *Tx) DeleteToken(id pool.TokenID) error {
	if err := tx.writable(); err != nil {
		return err
	}
	old, err := tx.Token(id)
	if err != nil {
		return err
	}
	key := string(number(uint64(id)))
	tx.stage(bucketTokensByHash, string(old.Hash[:]), nil)
	tx.stage(bucketTokens, key, nil)
	tx.log(pool.Change{Revision: tx.next(), RemovedToken: id}, kindToken, opDelete, key)
	return nil
}

func (tx *Tx) newTokenID() pool.TokenID {
	for {
		id := pool.NewTokenID()
		if tx.get(bucketTokens, string(number(uint64(id)))) == nil {
			return id
		}
	}
}

func decodeToken(id pool.TokenID, b []byte) (pool.Token, error) {
	r := &storev1.TokenRecord{}
	if err := decode(b, r, "token "+id.String()); err != nil {
		return pool.Token{}, err
	}
	if r.GetId() != uint64(id) || len(r.GetHash()) != 32 {
		return pool.Token{}, damaged("token %s is in another's place or without a digest", id)
	}
	return tokenOf(r)
}

func tokenRecord(t pool.Token) *storev1.TokenRecord {
	return &storev1.TokenRecord{
		Id: uint64(t.ID), Revision: t.Revision, Hash: t.Hash[:], Display: t.Display, Name: t.Name,
		Provider: string(t.Provider), Models: t.Models,
		CreateTime: stamp(t.CreateTime), ExpireTime: stamp(t.ExpireTime),
		AllowedCidrs: cidrTexts(t.AllowedCIDRs), RequestsPerMinute: t.Limits.RequestsPerMinute,
		TokensPerMinute: t.Limits.TokensPerMinute, MaxConcurrent: t.Limits.MaxConcurrent, Tenant: t.Tenant, Cache: t.Cache,
		Budget: budgetRecord(t.Limits),
	}
}

// tokenOf fails on an address range that cannot be read: without it the token would be open to everybody.
func tokenOf(r *storev1.TokenRecord) (pool.Token, error) {
	t := pool.Token{
		ID: pool.TokenID(r.GetId()), Revision: r.GetRevision(), Hash: [32]byte(r.GetHash()),
		Display: r.GetDisplay(), Name: r.GetName(),
		Provider: pool.ProviderID(r.GetProvider()), Models: slices.Clone(r.GetModels()),
		CreateTime: unstamp(r.GetCreateTime()), ExpireTime: unstamp(r.GetExpireTime()),
		Limits: limitsOf(r.GetBudget()),
		Tenant: r.GetTenant(), Cache: r.Cache,
	}
	t.Limits.RequestsPerMinute, t.Limits.TokensPerMinute = r.GetRequestsPerMinute(), r.GetTokensPerMinute()
	t.Limits.MaxConcurrent = r.GetMaxConcurrent()
	for _, text := range r.GetAllowedCidrs() {
		p, err := pool.ParseCIDR(text)
		if err != nil {
			return pool.Token{}, damaged("token %s has an address range that cannot be read", t.ID)
		}
		t.AllowedCIDRs = append(t.AllowedCIDRs, p)
	}
	return t, nil
}

func cidrTexts(list []netip.Prefix) []string {
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return texts
}
