package adminapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const defaultProvider = "ollama"

// keyService manages upstream keys.
type keyService struct {
	adminv1.UnimplementedKeyServiceServer
	*API
}

// GetKey answers one key.
func (s keyService) GetKey(ctx context.Context, req *adminv1.GetKeyRequest) (*adminv1.GetKeyResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	id, err := pool.ParseKeyID(req.GetId())
	if err != nil {
		return nil, noKey("")
	}
	v, ok := s.pool.KeyView(id)
	if !ok || provider != "" && v.Key.Provider != provider {
		return nil, noKey("")
	}
	return &adminv1.GetKeyResponse{ApiKey: s.wireKey(v)}, nil
}

// CreateKey adds a key, or answers the one that is there.
func (s keyService) CreateKey(ctx context.Context, req *adminv1.CreateKeyRequest) (*adminv1.CreateKeyResponse, error) {
	k, err := s.newKey(ctx, req)
	if err != nil {
		return nil, err
	}
	stored, created := k, false
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		if id, ok := tx.KeyBySecret(k.Secret.Reveal()); ok {
			stored, err = tx.Key(id)
			return err
		}
		if err := needProvider(tx, k.Provider); err != nil {
			return err
		}
		created = true
		stored, err = tx.PutKey(k)
		return err
	})
	if err != nil {
		return nil, err
	}
	if stored.Provider != k.Provider {
		return nil, conflict(adminv1.ErrorReason_ERROR_REASON_KEY_BELONGS_TO_OTHER_PROVIDER,
			"apiKey: the key belongs to another provider: delete it there first", s.keyNow(stored))
	}
	return &adminv1.CreateKeyResponse{ApiKey: s.keyNow(stored), Created: created}, nil
}

// needProvider refuses what would belong to a provider that does not exist.
func needProvider(tx *store.Tx, id pool.ProviderID) error {
	_, err := tx.Provider(id)
	if errors.Is(err, store.ErrNotFound) {
		return noProvider("provider")
	}
	return err
}

// newKey makes the key that the request describes.
func (s keyService) newKey(ctx context.Context, req *adminv1.CreateKeyRequest) (pool.Key, error) {
	provider, err := providerOf(ctx, req.GetProvider())
	if err != nil {
		return pool.Key{}, err
	}
	if req.GetLabel() != "" && req.GetUsername() != "" && req.GetLabel() != req.GetUsername() {
		return pool.Key{}, invalid("username", "differs from label, which means the same")
	}
	k := pool.Key{
		Provider: orDefault(provider), Secret: pool.NewSecret(req.GetApiKey()), Display: pool.Display(req.GetApiKey()),
		Label: req.GetLabel(), Models: req.GetModels(), Weight: 1, Priority: int(req.GetPriority()), Regions: req.GetRegions(),
		ExpireTime: after(s.now(), req.GetTtl()),
	}
	if k.Label == "" {
		k.Label = req.GetUsername()
	}
	if req.Weight != nil {
		k.Weight = int(req.GetWeight())
	}
	if r := firstOf(checkSecret(req.GetApiKey()), checkKey(k)); r != nil {
		return pool.Key{}, r
	}
	return k, nil
}

func orDefault(provider pool.ProviderID) pool.ProviderID {
	if provider == "" {
		return defaultProvider
	}
	return provider
}

// after answers the time in so many seconds; the zero time for none.
func after(now time.Time, seconds float64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds * float64(time.Second)))
}

// UpdateKey changes what the mask names.
func (s keyService) UpdateKey(ctx context.Context, req *adminv1.UpdateKeyRequest) (*adminv1.UpdateKeyResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	fields, err := changed(req.GetUpdateMask(), "label", "weight", "priority", "models", "regions", "expire_time")
	if err != nil {
		return nil, err
	}
	var k pool.Key
	var lost bool
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		k, err = named{id: req.GetApiKey().GetId()}.find(tx, provider)
		if errors.Is(err, store.ErrNotFound) {
			return noKey("")
		}
		if err != nil {
			return err
		}
		if lost = outdated(req.GetApiKey().GetRevision(), k.Revision); lost {
			return nil
		}
		if err := applyKey(&k, req.GetApiKey(), fields); err != nil {
			return err
		}
		k, err = tx.PutKey(k)
		return err
	})
	if err != nil {
		return nil, err
	}
	if lost {
		return nil, changedSince(s.keyNow(k))
	}
	return &adminv1.UpdateKeyResponse{ApiKey: s.keyNow(k)}, nil
}

func applyKey(k *pool.Key, to *adminv1.ApiKey, fields []string) error {
	for _, f := range fields {
		switch f {
		case "label":
			k.Label = to.GetLabel()
		case "weight":
			k.Weight = int(to.GetWeight())
		case "priority":
			k.Priority = int(to.GetPriority())
		case "models":
			k.Models = slices.Clone(to.GetModels())
		case "regions":
			k.Regions = slices.Clone(to.GetRegions())
		case "expire_time":
			k.ExpireTime = time.Time{}
			if to.GetExpireTime() == nil {
				continue
			}
			if !to.GetExpireTime().IsValid() {
				return invalid("expireTime", "is no time")
			}
			k.ExpireTime = to.GetExpireTime().AsTime()
		}
	}
	if r := checkKey(*k); r != nil {
		return r
	}
	return nil
}
