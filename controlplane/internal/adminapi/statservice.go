package adminapi

import (
	"context"
	"maps"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const topModels = 100

// statsService answers figures.
type statsService struct {
	adminv1.UnimplementedStatsServiceServer
	*API
}

// GetStats answers the overall figures. What has happened with a provider that was deleted since still counts.
func (s statsService) GetStats(ctx context.Context, req *adminv1.GetStatsRequest) (*adminv1.GetStatsResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.GetStatsResponse{Providers: s.byProvider(provider)}
	for _, p := range resp.GetProviders() {
		resp.TotalApiKeys += p.GetTotalApiKeys()
		resp.ActiveKeys += p.GetActiveKeys()
		resp.FailedKeys += p.GetFailedKeys()
		resp.TotalRequests += p.GetTotalRequests()
		resp.SuccessCount += p.GetSuccessCount()
		resp.FailureCount += p.GetFailureCount()
		resp.UpstreamAttempts += p.GetUpstreamAttempts()
		resp.AttemptFailures += p.GetAttemptFailures()
		resp.InputTokens += p.GetInputTokens()
		resp.OutputTokens += p.GetOutputTokens()
		resp.EstimatedTokens += p.GetEstimatedTokens()
		resp.UnknownRequests += p.GetUnknownRequests()
		resp.UnknownAttempts += p.GetUnknownAttempts()
	}
	resp.SuccessRate = rate(uint64(resp.GetSuccessCount()), uint64(resp.GetFailureCount()))
	for _, t := range s.pool.Tokens() {
		if mayUse(t, provider) {
			resp.TotalClientTokens++
		}
	}
	for _, m := range s.stats.Models(provider, topModels) {
		w, used := wireModel(m), m.Requests.Usage()
		w.InputTokens, w.OutputTokens = new(float64(used.Input)), new(float64(used.Output))
		w.EstimatedTokens = new(float64(used.Estimated))
		resp.Models = append(resp.Models, w)
	}
	for _, h := range s.stats.Hours(provider, s.now()) {
		resp.Hours = append(resp.Hours, wireHour(h))
	}
	return resp, nil
}

// wireModel answers what everybody may see: nothing of how much was used.
func wireModel(m stats.ModelStats) *adminv1.ModelStats {
	return &adminv1.ModelStats{
		Provider: string(m.Provider), Model: m.Model, TotalRequests: float64(m.Requests.Total()),
		SuccessCount: float64(m.Requests.Success()), FailureCount: float64(m.Requests.Failure()),
	}
}

func wireHour(h stats.Hour) *adminv1.HourStats {
	used := h.Requests.Usage()
	return &adminv1.HourStats{
		Hour: stamp(h.Hour), TotalRequests: float64(h.Requests.Total()),
		SuccessCount: float64(h.Requests.Success()), FailureCount: float64(h.Requests.Failure()),
		UpstreamAttempts: float64(h.Attempts.Total()), AttemptFailures: float64(h.Attempts.Failure()),
		InputTokens: float64(used.Input), OutputTokens: float64(used.Output), EstimatedTokens: float64(used.Estimated),
	}
}

// byProvider answers the figures of one provider, or of all that there are or were.
func (a *API) byProvider(only pool.ProviderID) []*adminv1.ProviderStats {
	rows := map[pool.ProviderID]*adminv1.ProviderStats{}
	for id, n := range a.pool.KeyCounts(a.now()) {
		rows[id] = &adminv1.ProviderStats{
			Provider: string(id), TotalApiKeys: int32(n.Total), ActiveKeys: int32(n.Active), FailedKeys: int32(n.Failed),
		}
	}
	for _, p := range a.stats.Providers() {
		row := rows[p.Provider]
		if row == nil {
			row = &adminv1.ProviderStats{Provider: string(p.Provider)}
			rows[p.Provider] = row
		}
		row.TotalRequests, row.UpstreamAttempts = float64(p.Requests.Total()), float64(p.Attempts.Total())
		row.SuccessCount, row.FailureCount = float64(p.Requests.Success()), float64(p.Requests.Failure())
		row.AttemptFailures = float64(p.Attempts.Failure())
		row.UnknownRequests, row.UnknownAttempts = float64(p.Requests[stats.RequestUnknown]), float64(p.Attempts[stats.AttemptUnknown])
		used := p.Requests.Usage()
		row.InputTokens, row.OutputTokens, row.EstimatedTokens = float64(used.Input), float64(used.Output), float64(used.Estimated)
	}
	var list []*adminv1.ProviderStats
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		if only == "" || id == only {
			list = append(list, rows[id])
		}
	}
	return list
}

// GetKeyStats answers every key's figures, page by page.
func (s statsService) GetKeyStats(ctx context.Context, req *adminv1.GetKeyStatsRequest) (*adminv1.GetKeyStatsResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	page, next, total, err := s.keyPage(keyFilter{provider: provider}, "stats", pageSize(req.GetPageSize()), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.GetKeyStatsResponse{NextPageToken: next, Total: total}
	for _, v := range page {
		resp.Keys = append(resp.Keys, s.statsRow(v))
	}
	return resp, nil
}

func (a *API) statsRow(v pool.KeyView) *adminv1.KeyStatsRow {
	now := a.now()
	status, reason, _ := pool.StatusAt(v.Key, v.Health, now)
	row := &adminv1.KeyStatsRow{
		Id: v.Key.ID.String(), Provider: string(v.Key.Provider), Label: v.Key.Label, Display: v.Key.Display,
		Status: string(status), Reason: reason, Stats: a.wireKeyStats(v),
	}
	yesterday := now.Truncate(time.Hour).Add(-23 * time.Hour)
	for _, h := range a.stats.KeyHours(v.Key.ID, now) {
		if !h.Hour.Before(yesterday) {
			row.Hours = append(row.Hours, wireKeyHour(h))
		}
	}
	return row
}

func wireKeyHour(h stats.KeyHour) *adminv1.KeyHour {
	return &adminv1.KeyHour{
		Hour: stamp(h.Hour), Total: float64(h.Total), Success: float64(h.Success), Failure: float64(h.Failure),
	}
}
