package adminapi

import (
	"strconv"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// wireKey answers a key as operators see it. It never touches the secret.
func (a *API) wireKey(v pool.KeyView) *adminv1.ApiKey {
	k := v.Key
	status, reason, until := pool.StatusAt(k, v.Health, a.now())
	return &adminv1.ApiKey{
		Id: k.ID.String(), Provider: string(k.Provider), Label: k.Label, Display: k.Display,
		Status: string(status), Reason: reason, Until: stamp(until),
		Models: k.Models, Weight: int32(k.Weight), Priority: int32(k.Priority), Regions: k.Regions,
		CreateTime: stamp(k.CreateTime), ExpireTime: stamp(k.ExpireTime),
		Stats: a.wireKeyStats(v), Holders: texts(v.Holders), Revision: wireRevision(k.Revision), Note: k.Note, Category: k.Category,
		Group: k.Group, Limits: wireKeyLimits(k.Limits), MaxStale: k.MaxStale.Seconds(),
	}
}

func (a *API) wireKeyStats(v pool.KeyView) *adminv1.KeyStats {
	s := a.stats.Key(v.Key.ID)
	strikes := v.Health.Strikes
	if v.Health.Generation != v.Key.Generation {
		strikes = 0
	}
	used := s.Counts.Usage()
	return &adminv1.KeyStats{
		Total: float64(s.Counts.Total()), Success: float64(s.Counts.Success()), Failure: float64(s.Counts.Failure()),
		SuccessRate: rate(s.Counts.Success(), s.Counts.Failure()), ConsecutiveFailures: int32(strikes),
		LastUsedTime: stamp(s.LastUsed), LastSuccessTime: stamp(s.LastSuccess), LastFailureTime: stamp(s.LastFailure),
		InputTokens: float64(used.Input), OutputTokens: float64(used.Output), EstimatedTokens: float64(used.Estimated),
		Unknown: float64(s.Counts[stats.AttemptUnknown]),
	}
}

// keyNow answers a key that was just changed as it is now. If somebody has deleted it meanwhile, it is as it was stored.
func (a *API) keyNow(stored pool.Key) *adminv1.ApiKey {
	if v, ok := a.pool.KeyView(stored.ID); ok {
		return a.wireKey(v)
	}
	return a.wireKey(pool.KeyView{Key: stored})
}

func wireRevision(n uint64) string { return strconv.FormatUint(n, 10) }
