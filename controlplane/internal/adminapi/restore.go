package adminapi

import (
	"context"
	"errors"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// RestoreKey brings back a key that was deleted within the last day.
func (s keyService) RestoreKey(ctx context.Context, req *adminv1.RestoreKeyRequest) (*adminv1.RestoreKeyResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	id, err := pool.ParseKeyID(req.GetId())
	if err != nil {
		return nil, noDeletedKey()
	}
	var k pool.Key
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		k, err = tx.RestoreKey(id)
		switch {
		case errors.Is(err, store.ErrNotFound) || err == nil && provider != "" && k.Provider != provider:
			return noDeletedKey()
		case errors.Is(err, store.ErrExists):
			return conflict(adminv1.ErrorReason_ERROR_REASON_KEY_EXISTS, "the same key was added again since it was deleted", nil)
		case err != nil:
			return err
		}
		return needProvider(tx, k.Provider)
	})
	if err != nil {
		return nil, err
	}
	s.receipt(ctx, min(wait, grantWait), whereAny([]pool.Key{k}))
	return &adminv1.RestoreKeyResponse{ApiKey: s.keyNow(k)}, nil
}

func noDeletedKey() *refusal {
	r := noKey("")
	r.text = "no such key was deleted within the last 24 hours"
	return r
}
