package adminapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// tokenService manages client tokens.
type tokenService struct {
	adminv1.UnimplementedTokenServiceServer
	*API
}

func (a *API) wireToken(t pool.Token) *adminv1.ClientToken {
	s := a.stats.Token(t.ID)
	status := "active"
	if t.ExpiredAt(a.now()) {
		status = "expired"
	}
	return &adminv1.ClientToken{
		Id: t.ID.String(), Name: t.Name, Display: t.Display, Status: status, Provider: string(t.Provider), Models: t.Models,
		CreateTime: stamp(t.CreateTime), ExpireTime: stamp(t.ExpireTime),
		Stats: &adminv1.TokenStats{
			Total: float64(s.Counts.Total()), Success: float64(s.Counts.Success()), Failure: float64(s.Counts.Failure()),
			ClientError: float64(s.Counts[stats.RequestClientError]), Canceled: float64(s.Counts[stats.RequestCanceled]),
			LastUsedTime: stamp(s.LastUsed),
		},
	}
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
	if strings.TrimSpace(req.GetName()) != req.GetName() {
		return nil, invalid("name", "has white space at its beginning or end")
	}
	if r := firstOf(checkText("name", req.GetName(), maxLabel), checkModels(req.GetModels())); r != nil {
		return nil, r
	}
	made := newClientToken()
	if req.GetToken() != "" {
		var r *refusal
		if made, r = carriedToken(req.GetToken()); r != nil {
			return nil, r
		}
	}
	t, created := pool.Token{
		Hash: made.hash, Display: made.display, Name: req.GetName(), Provider: provider, Models: req.GetModels(),
		ExpireTime: after(s.now(), req.GetExpiresIn()),
	}, false
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
		t, err := findToken(tx, req)
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

func findToken(tx *store.Tx, req *adminv1.DeleteTokenRequest) (pool.Token, error) {
	if req.GetToken() != "" {
		id, ok := tx.TokenByHash(sha256.Sum256([]byte(req.GetToken())))
		if !ok {
			return pool.Token{}, store.ErrNotFound
		}
		return tx.Token(id)
	}
	id, err := pool.ParseTokenID(req.GetId())
	if err != nil {
		return pool.Token{}, store.ErrNotFound
	}
	return tx.Token(id)
}
