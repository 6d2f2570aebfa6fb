package adminapi

import (
	"context"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// changeKeys changes all named keys in one transaction, or none if one is missing or first, which is called with all of them,
// refuses.
func (a *API) changeKeys(
	ctx context.Context, all []named, provider string, change func(pool.Key) pool.Key, first func([]pool.Key) error,
) ([]pool.Key, error) {
	of, err := providerOf(ctx, provider)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, namesNone("id, ids or apiKey")
	}
	var keys []pool.Key
	err = a.update(ctx, func(tx *store.Tx) error {
		var missing []named
		var err error
		keys, missing, err = resolve(tx, all, of)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			return noKey(missing[0].field)
		}
		if err := first(keys); err != nil {
			return err
		}
		for i, k := range keys {
			if keys[i], err = tx.PutKey(change(k)); err != nil {
				return err
			}
		}
		return nil
	})
	return keys, err
}

// EnableKeys puts keys back in use.
func (s keyService) EnableKeys(ctx context.Context, req *adminv1.EnableKeysRequest) (*adminv1.EnableKeysResponse, error) {
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	if r := checkText("note", req.GetNote(), maxNote); r != nil {
		return nil, r
	}
	enable := func(k pool.Key) pool.Key {
		if k = k.Enable(); req.GetNote() != "" {
			k.Note = req.GetNote()
		}
		return k
	}
	keys, err := s.changeKeys(ctx, names(req.GetApiKey(), req.GetId(), req.GetIds(), nil), req.GetProvider(), enable, always)
	if err != nil {
		return nil, err
	}
	receipt := s.receipt(ctx, min(wait, grantWait), whereAny(keys))
	return &adminv1.EnableKeysResponse{ApiKeys: s.keysNow(keys), Receipt: receipt}, nil
}

// DisableKeys takes keys out of use.
func (s keyService) DisableKeys(ctx context.Context, req *adminv1.DisableKeysRequest) (*adminv1.DisableKeysResponse, error) {
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	if r := checkText("note", req.GetNote(), maxNote); r != nil {
		return nil, r
	}
	now := s.now()
	until := after(now, req.GetDuration())
	disable := func(k pool.Key) pool.Key {
		if req.GetCancelInFlight() || k.CutAt(now) { // what is in force stays
			return k.DisableAndCut(until, req.GetNote())
		}
		return k.Disable(until, req.GetNote())
	}
	first := s.leavesOne
	if req.GetForce() {
		first = always
	}
	keys, err := s.changeKeys(ctx, names(req.GetApiKey(), req.GetId(), req.GetIds(), nil), req.GetProvider(), disable, first)
	if err != nil {
		return nil, err
	}
	receipt := s.keysReceipt(ctx, wait, keys)
	return &adminv1.DisableKeysResponse{ApiKeys: s.keysNow(keys), Receipt: receipt}, nil
}

func always([]pool.Key) error { return nil }

// leavesOne refuses to take out the last usable key of a provider. Keys that could not serve anyway may always go.
func (a *API) leavesOne(going []pool.Key) error {
	out := map[pool.KeyID]bool{}
	left := map[pool.ProviderID]bool{} // true: a usable key stays
	for _, k := range going {
		out[k.ID] = true
		if a.usable(k) {
			left[k.Provider] = false
		}
	}
	for provider := range left {
		a.pool.EachKey(0, func(v pool.KeyView) bool {
			left[provider] = v.Key.Provider == provider && !out[v.Key.ID] && a.active(v)
			return !left[provider]
		})
		if !left[provider] {
			return conflict(adminv1.ErrorReason_ERROR_REASON_LAST_USABLE_KEY,
				"no usable key would be left to the provider: say force to have it so", nil)
		}
	}
	return nil
}

func (a *API) usable(k pool.Key) bool {
	v, ok := a.pool.KeyView(k.ID)
	return ok && a.active(v)
}

func (a *API) active(v pool.KeyView) bool {
	status, _, _ := pool.StatusAt(v.Key, v.Health, a.now())
	return status == pool.StatusActive
}

func (a *API) keysNow(keys []pool.Key) []*adminv1.ApiKey {
	list := make([]*adminv1.ApiKey, len(keys))
	for i, k := range keys {
		list[i] = a.keyNow(k)
	}
	return list
}

// DeleteKeys deletes the keys that are there and counts those that are not.
func (s keyService) DeleteKeys(ctx context.Context, req *adminv1.DeleteKeysRequest) (*adminv1.DeleteKeysResponse, error) {
	all := names(req.GetApiKey(), req.GetId(), req.GetIds(), req.GetApiKeys())
	if len(all) == 0 {
		return nil, namesNone("id, ids, apiKey or apiKeys")
	}
	deleted, missing, receipt, err := s.deleteKeys(ctx, all, req.GetProvider(), req.GetCancelInFlight())
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteKeysResponse{Deleted: int32(deleted), NotFound: int32(missing), Receipt: receipt}, nil
}

// DeleteKey deletes one key.
func (s keyService) DeleteKey(ctx context.Context, req *adminv1.DeleteKeyRequest) (*adminv1.DeleteKeyResponse, error) {
	deleted, _, receipt, err := s.deleteKeys(ctx, []named{{id: req.GetId()}}, "", false)
	if err != nil {
		return nil, err
	}
	if deleted == 0 {
		return nil, noKey("")
	}
	return &adminv1.DeleteKeyResponse{Receipt: receipt}, nil
}

func (a *API) deleteKeys(
	ctx context.Context, all []named, body string, cancel bool,
) (deleted, missing int, receipt *adminv1.RevocationReceipt, err error) {
	provider, err := providerOf(ctx, body)
	if err != nil {
		return 0, 0, nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return 0, 0, nil, err
	}
	var keys []pool.Key
	err = a.update(ctx, func(tx *store.Tx) error {
		var absent []named
		var err error
		keys, absent, err = resolve(tx, all, provider)
		if err != nil {
			return err
		}
		missing = len(absent)
		for _, k := range keys {
			if err := tx.DeleteKey(k.ID, cancel); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, nil, err
	}
	if len(keys) == 0 {
		return 0, missing, &adminv1.RevocationReceipt{}, nil
	}
	return len(keys), missing, a.keysReceipt(ctx, wait, keys), nil
}
