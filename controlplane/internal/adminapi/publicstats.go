package adminapi

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	publicModels = 10
	publicHours  = 24
	publicAge    = 15 * time.Second // anyone may ask: however often, the figures are not made more often than this
)

// publicStats keeps what was last made, by provider. Its size is bounded by the number of providers, because only those
// that exist are asked for.
type publicStats struct {
	mu   sync.Mutex // guards made; held while figures are made, so that one making serves all
	made map[pool.ProviderID]*adminv1.GetPublicStatsResponse
}

// GetPublicStats answers figures that tell nothing about keys, tokens and nodes. It may be called by anyone if the operator
// wants that.
func (s statsService) GetPublicStats(ctx context.Context, req *adminv1.GetPublicStatsRequest) (*adminv1.GetPublicStatsResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	p := &s.public
	p.mu.Lock()
	defer p.mu.Unlock()
	now := s.now()
	if made := p.made[provider]; made != nil {
		if age := now.Sub(made.GetAsOfTime().AsTime()); age >= 0 && age < publicAge {
			return proto.CloneOf(made), nil
		}
	}
	if p.made == nil {
		p.made = map[pool.ProviderID]*adminv1.GetPublicStatsResponse{}
	}
	for id := range p.made { // of a provider that is gone
		if _, ok := s.pool.Provider(id); !ok && id != "" {
			delete(p.made, id)
		}
	}
	p.made[provider] = s.makePublic(provider, now)
	return proto.CloneOf(p.made[provider]), nil
}

func (a *API) makePublic(provider pool.ProviderID, now time.Time) *adminv1.GetPublicStatsResponse {
	resp := &adminv1.GetPublicStatsResponse{AsOfTime: stamp(now)}
	var good, bad uint64
	for _, p := range a.stats.Providers() {
		if provider == "" || p.Provider == provider {
			resp.TotalRequests += float64(p.Requests.Total())
			good, bad = good+p.Requests.Success(), bad+p.Requests.Failure()
		}
	}
	resp.SuccessCount, resp.FailureCount, resp.SuccessRate = float64(good), float64(bad), rate(good, bad)
	for _, m := range a.stats.Models(provider, publicModels+1) {
		if m.Model != "" && len(resp.GetTopModels()) < publicModels { // what named no model asked for the list of them
			resp.TopModels = append(resp.TopModels, wireModel(m))
		}
	}
	counted := map[int64]stats.Hour{}
	for _, h := range a.stats.Hours(provider, now) {
		counted[h.Hour.Unix()] = h
	}
	first := now.UTC().Truncate(time.Hour).Add(-(publicHours - 1) * time.Hour)
	for n := range publicHours {
		at := first.Add(time.Duration(n) * time.Hour)
		h := counted[at.Unix()]
		resp.Hours = append(resp.Hours, &adminv1.PublicHour{
			Hour: stamp(at), TotalRequests: float64(h.Requests.Total()),
			SuccessCount: float64(h.Requests.Success()), FailureCount: float64(h.Requests.Failure()),
		})
	}
	return resp
}
