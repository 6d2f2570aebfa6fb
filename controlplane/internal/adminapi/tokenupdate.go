package adminapi

import (
	"context"
	"errors"
	"slices"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// UpdateToken changes what the mask names. It waits a little for the nodes, so that whoever was answered finds the change
// in force; a node that is late hears of it all the same.
func (s tokenService) UpdateToken(ctx context.Context, req *adminv1.UpdateTokenRequest) (*adminv1.UpdateTokenResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	fields, err := changed(req.GetUpdateMask(), tokenFields...)
	if err != nil {
		return nil, err
	}
	var t pool.Token
	var lost bool
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		t, err = findToken(tx, req.GetClientToken().GetId(), "")
		if errors.Is(err, store.ErrNotFound) || err == nil && !mayUse(t, provider) {
			return noToken()
		}
		if err != nil {
			return err
		}
		if lost = outdated(req.GetClientToken().GetRevision(), t.Revision); lost {
			return nil
		}
		if err := applyToken(&t, req.GetClientToken(), fields); err != nil {
			return err
		}
		if slices.Contains(fields, "provider") && t.Provider != "" {
			if err := needProvider(tx, t.Provider); err != nil {
				return err
			}
		}
		t, err = tx.PutToken(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	if lost {
		return nil, changedSince(s.wireToken(t))
	}
	s.receipt(ctx, min(wait, grantWait), everywhere)
	return &adminv1.UpdateTokenResponse{ClientToken: s.wireToken(t)}, nil
}
