package adminapi

import (
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// wireToken answers a token as operators see it.
func (a *API) wireToken(t pool.Token) *adminv1.ClientToken {
	status := "active"
	if t.ExpiredAt(a.now()) {
		status = "expired"
	}
	w := &adminv1.ClientToken{
		Id: t.ID.String(), Name: t.Name, Display: t.Display, Status: status, Provider: string(t.Provider), Models: t.Models,
		CreateTime: stamp(t.CreateTime), ExpireTime: stamp(t.ExpireTime), Stats: wireTokenStats(a.stats.Token(t.ID)),
		Limits: wireTokenLimits(t.Limits), Budget: wireBudget(t.Limits),
		Tenant: t.Tenant, Cache: t.Cache, Revision: wireRevision(t.Revision),
	}
	for _, p := range t.AllowedCIDRs {
		w.AllowedCidrs = append(w.AllowedCidrs, p.String())
	}
	return w
}

func wireTokenStats(s stats.TokenStats) *adminv1.TokenStats {
	used := s.Counts.Usage()
	return &adminv1.TokenStats{
		Total: float64(s.Counts.Total()), Success: float64(s.Counts.Success()), Failure: float64(s.Counts.Failure()),
		ClientError: float64(s.Counts[stats.RequestClientError]), Canceled: float64(s.Counts[stats.RequestCanceled]),
		LastUsedTime: stamp(s.LastUsed),
		InputTokens:  float64(used.Input), OutputTokens: float64(used.Output), EstimatedTokens: float64(used.Estimated),
		FromCache: float64(s.Counts[stats.RequestFromCache]), Unknown: float64(s.Counts[stats.RequestUnknown]),
	}
}
