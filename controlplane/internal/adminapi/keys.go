package adminapi

import (
	"context"
	"errors"
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
	v, ok := s.keyNamed(req.GetId(), provider)
	if !ok {
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
		if id, ok := tx.KeyBySecret(k.Secret); ok {
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
	if created {
		s.given(ctx, stored.ID)
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
		ExpireTime: after(s.now(), req.GetTtl()), Group: req.GetGroup(),
	}
	if k.MaxStale, err = readMaxStale(req.GetMaxStale()); err != nil {
		return pool.Key{}, err
	}
	for _, part := range keyLimits {
		if err := setKeyLimit(&k.Limits, req.GetLimits(), part); err != nil {
			return pool.Key{}, err
		}
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
