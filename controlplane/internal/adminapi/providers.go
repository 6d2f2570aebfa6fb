package adminapi

import (
	"context"
	"errors"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// providerService manages providers.
type providerService struct {
	adminv1.UnimplementedProviderServiceServer
	*API
}

// ListProviders lists all providers by id.
func (s providerService) ListProviders(context.Context, *adminv1.ListProvidersRequest) (*adminv1.ListProvidersResponse, error) {
	resp := &adminv1.ListProvidersResponse{}
	for _, p := range s.pool.Providers() {
		wire, err := s.providerNow(p)
		if err != nil {
			return nil, err
		}
		resp.Providers = append(resp.Providers, wire)
	}
	return resp, nil
}

// GetProvider answers one provider.
func (s providerService) GetProvider(_ context.Context, req *adminv1.GetProviderRequest) (*adminv1.GetProviderResponse, error) {
	p, ok := s.pool.Provider(pool.ProviderID(req.GetId()))
	if !ok {
		return nil, noProvider("")
	}
	wire, err := s.providerNow(p)
	return &adminv1.GetProviderResponse{Provider: wire}, err
}

// providerNow answers a provider with the number of its keys.
func (a *API) providerNow(p pool.Provider) (wire *adminv1.Provider, err error) {
	err = a.store.View(func(tx *store.Tx) error {
		wire = wireProvider(p, tx.CountKeys(p.ID))
		return nil
	})
	return wire, err
}

// CreateProvider adds a provider.
func (s providerService) CreateProvider(ctx context.Context, req *adminv1.CreateProviderRequest) (*adminv1.CreateProviderResponse, error) {
	wire := req.GetProvider()
	if !providerID.MatchString(wire.GetId()) || reservedIDs[wire.GetId()] {
		return nil, invalid("id", "must be a-z, then 1 to 30 of a-z, 0-9 and '-', and no reserved word")
	}
	p := pool.Provider{ID: pool.ProviderID(wire.GetId())}
	if err := applyProvider(&p, wire, providerFields); err != nil {
		return nil, err
	}
	exists := false
	err := s.update(ctx, func(tx *store.Tx) error {
		old, err := tx.Provider(p.ID)
		if exists = err == nil; exists {
			p = old
			return nil
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		p, err = tx.PutProvider(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	now, err := s.providerNow(p)
	if err != nil {
		return nil, err
	}
	if exists {
		return nil, conflict(adminv1.ErrorReason_ERROR_REASON_PROVIDER_EXISTS, "id: there is such a provider already", now)
	}
	return &adminv1.CreateProviderResponse{Provider: now}, nil
}

// UpdateProvider changes what the mask names.
func (s providerService) UpdateProvider(ctx context.Context, req *adminv1.UpdateProviderRequest) (*adminv1.UpdateProviderResponse, error) {
	fields, err := changed(req.GetUpdateMask(), providerFields...)
	if err != nil {
		return nil, err
	}
	var p pool.Provider
	lost := false
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		p, err = tx.Provider(pool.ProviderID(req.GetProvider().GetId()))
		if errors.Is(err, store.ErrNotFound) {
			return noProvider("")
		}
		if err != nil {
			return err
		}
		if lost = outdated(req.GetProvider().GetRevision(), p.Revision); lost {
			return nil
		}
		if err := applyProvider(&p, req.GetProvider(), fields); err != nil {
			return err
		}
		p, err = tx.PutProvider(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	now, err := s.providerNow(p)
	if err != nil {
		return nil, err
	}
	if lost {
		return nil, changedSince(now)
	}
	return &adminv1.UpdateProviderResponse{Provider: now}, nil
}

// DeleteProvider removes a provider that has no keys.
func (s providerService) DeleteProvider(ctx context.Context, req *adminv1.DeleteProviderRequest) (*adminv1.DeleteProviderResponse, error) {
	err := s.update(ctx, func(tx *store.Tx) error {
		id := pool.ProviderID(req.GetId())
		if tx.CountKeys(id) > 0 {
			return conflict(adminv1.ErrorReason_ERROR_REASON_PROVIDER_IN_USE, "the provider still has keys: delete them first", nil)
		}
		err := tx.DeleteProvider(id)
		if errors.Is(err, store.ErrNotFound) {
			return noProvider("")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteProviderResponse{}, nil
}
