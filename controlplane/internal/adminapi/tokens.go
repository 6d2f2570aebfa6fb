package adminapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// tokenService manages client tokens.
type tokenService struct {
	adminv1.UnimplementedTokenServiceServer
	*API
}

// mayUse says whether the token may use the provider; of none asked, every token may.
func mayUse(t pool.Token, provider pool.ProviderID) bool {
	return provider == "" || t.Provider == "" || t.Provider == provider
}

// ListTokens lists the tokens, or those that may use a provider, in the order they were made.
func (s tokenService) ListTokens(ctx context.Context, req *adminv1.ListTokensRequest) (*adminv1.ListTokensResponse, error) {
	provider, err := s.knownProvider(ctx, "")
	if err != nil {
		return nil, err
	}
	filter := filterDigest("tokens", string(provider))
	var lastTime, lastID uint64
	if err := readPage(req.GetPageToken(), filter, &lastTime, &lastID); err != nil {
		return nil, err
	}
	all := slices.DeleteFunc(s.pool.Tokens(), func(t pool.Token) bool { return !mayUse(t, provider) })
	resp := &adminv1.ListTokensResponse{Total: int32(len(all))}
	for i, t := range all {
		made, id := uint64(t.CreateTime.UnixNano()), uint64(t.ID)
		if req.GetPageToken() != "" && (made < lastTime || made == lastTime && id <= lastID) {
			continue
		}
		resp.ClientTokens = append(resp.ClientTokens, s.wireToken(t))
		if len(resp.ClientTokens) == pageSize(req.GetPageSize()) {
			if i+1 < len(all) {
				resp.NextPageToken = writePage(filter, made, id)
			}
			break
		}
	}
	return resp, nil
}

// CreateToken makes a token and answers its secret for the only time, or carries over one that clients have.
func (s tokenService) CreateToken(ctx context.Context, req *adminv1.CreateTokenRequest) (*adminv1.CreateTokenResponse, error) {
	provider, err := providerOf(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	t := pool.Token{}
	if err := applyToken(&t, s.described(req, provider), tokenFields); err != nil {
		return nil, err
	}
	made := newClientToken()
	if req.GetToken() != "" {
		var r *refusal
		if made, r = carriedToken(req.GetToken()); r != nil {
			return nil, r
		}
	}
	t.Hash, t.Display = made.hash, made.display
	created := false
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if id, ok := tx.TokenByHash(t.Hash); ok {
			t, err = tx.Token(id)
			return err
		}
		if provider != "" {
			if err := needProvider(tx, provider); err != nil {
				return err
			}
		}
		created = true
		t, err = tx.PutToken(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.receipt(ctx, min(wait, grantWait), everywhere)
	resp := &adminv1.CreateTokenResponse{ClientToken: s.wireToken(t), Created: created}
	if req.GetToken() == "" {
		resp.Token = made.secret
	}
	return resp, nil
}

// described answers the token that a request wants made, in the words of a change.
func (a *API) described(req *adminv1.CreateTokenRequest, provider pool.ProviderID) *adminv1.ClientToken {
	return &adminv1.ClientToken{
		Name: req.GetName(), Provider: string(provider), Models: req.GetModels(), ExpireTime: stamp(after(a.now(), req.GetExpiresIn())),
		Limits: req.GetLimits(), Budget: req.GetBudget(), AllowedCidrs: req.GetAllowedCidrs(), Tenant: req.GetTenant(), Cache: req.Cache,
	}
}

// DeleteToken revokes a token.
func (s tokenService) DeleteToken(ctx context.Context, req *adminv1.DeleteTokenRequest) (*adminv1.DeleteTokenResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	if (req.GetId() == "") == (req.GetToken() == "") {
		return nil, invalid("", "name the token by id or by token, one of both")
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		t, err := findToken(tx, req.GetId(), req.GetToken())
		if errors.Is(err, store.ErrNotFound) || err == nil && !mayUse(t, provider) {
			return noToken()
		}
		if err != nil {
			return err
		}
		return tx.DeleteToken(t.ID)
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteTokenResponse{Receipt: s.receipt(ctx, wait, everywhere)}, nil
}

// findToken answers the token with the secret, or if that is empty, with the id; or store.ErrNotFound.
func findToken(tx *store.Tx, id, secret string) (pool.Token, error) {
	if secret != "" {
		id, ok := tx.TokenByHash(sha256.Sum256([]byte(secret)))
		if !ok {
			return pool.Token{}, store.ErrNotFound
		}
		return tx.Token(id)
	}
	parsed, err := pool.ParseTokenID(id)
	if err != nil {
		return pool.Token{}, store.ErrNotFound
	}
	return tx.Token(parsed)
}
