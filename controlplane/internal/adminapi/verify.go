package adminapi

import (
	"context"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// unchecked is the status of a key of which nothing was learnt.
const unchecked = "unchecked"

// VerifyKey asks the upstream about one key, of the pool or not. It changes nothing.
func (s keyService) VerifyKey(ctx context.Context, req *adminv1.VerifyKeyRequest) (*adminv1.VerifyKeyResponse, error) {
	of, key, err := s.verified(ctx, req)
	if err != nil {
		return nil, err
	}
	a, models, err := s.prober.Examine(ctx, of, key)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.VerifyKeyResponse{
		Valid: a.Finding == probe.Good || a.Finding == probe.Limited, Status: unchecked,
		Category: models.Category, Models: models.Names, Error: a.Reason.Message(), Reason: string(a.Reason),
	}
	switch a.Finding {
	case probe.Good:
		resp.Status = string(pool.StatusActive)
	case probe.Limited:
		resp.Status = string(pool.StatusCooling)
	case probe.Rejected:
		resp.Status = string(pool.StatusAutoDisabled)
	case probe.Unknown:
	}
	return resp, nil
}

// verified answers the key that is meant, and whose it is.
func (s keyService) verified(ctx context.Context, req *adminv1.VerifyKeyRequest) (of pool.Provider, key pool.Secret, err error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return of, key, err
	}
	if (req.GetId() == "") == (req.GetApiKey() == "") {
		return of, key, invalid("", "name the key by id or by apiKey, one of both")
	}
	if req.GetApiKey() != "" {
		if r := checkSecret(req.GetApiKey()); r != nil {
			return of, key, r
		}
		of, ok := s.pool.Provider(orDefault(provider))
		if !ok {
			return of, key, noProvider("provider")
		}
		return of, pool.NewSecret(req.GetApiKey()), nil
	}
	v, ok := s.keyNamed(req.GetId(), provider)
	if !ok {
		return of, key, noKey("id")
	}
	of, ok = s.pool.Provider(v.Key.Provider)
	if !ok {
		return of, key, noProvider("provider")
	}
	return of, v.Key.Secret, nil
}
