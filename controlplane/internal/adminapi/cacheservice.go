package adminapi

import (
	"context"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// cacheService shows and clears the caches of the data planes.
type cacheService struct {
	adminv1.UnimplementedCacheServiceServer
	*API
}

// GetCacheStats answers the figures of the connected nodes. One that has not told any yet is named without them.
func (s cacheService) GetCacheStats(ctx context.Context, req *adminv1.GetCacheStatsRequest) (*adminv1.GetCacheStatsResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.GetCacheStatsResponse{}
	var all []pool.CacheStatus
	for _, v := range s.pool.Nodes(s.now()) {
		if !v.Connected() {
			continue
		}
		node := &adminv1.NodeCache{Node: string(v.Record.ID), Region: v.Record.Region, AsOfTime: stamp(v.StatusTime)}
		if !v.StatusTime.IsZero() {
			node.Models, node.Responses = cacheFigures(v.Caches, provider)
		}
		resp.Nodes = append(resp.Nodes, node)
		all = append(all, v.Caches...)
	}
	resp.Models, resp.Responses = cacheFigures(all, provider)
	return resp, nil
}

// cacheFigures adds up the figures of one provider, or of all: of lists of models, and of whole answers.
func cacheFigures(all []pool.CacheStatus, only pool.ProviderID) (models, responses *adminv1.CacheFigures) {
	var sum pool.CacheStatus
	for _, c := range all {
		if only == "" || c.Provider == only {
			sum.Lists += c.Lists
			sum.Bytes += c.Bytes
			sum.Hits += c.Hits
			sum.Misses += c.Misses
			sum.Answers += c.Answers
			sum.AnswerBytes += c.AnswerBytes
			sum.AnswerHits += c.AnswerHits
			sum.AnswerMisses += c.AnswerMisses
		}
	}
	return wireFigures(sum.Lists, sum.Bytes, sum.Hits, sum.Misses),
		wireFigures(sum.Answers, sum.AnswerBytes, sum.AnswerHits, sum.AnswerMisses)
}

func wireFigures(entries, bytes, hits, misses uint64) *adminv1.CacheFigures {
	return &adminv1.CacheFigures{
		Entries: float64(entries), Bytes: float64(bytes), Hits: float64(hits), Misses: float64(misses), HitRate: rate(hits, misses),
	}
}

// ClearCache has every node forget both its caches. Like a revocation, it is done whether or not anyone waits for the receipt.
func (s cacheService) ClearCache(ctx context.Context, req *adminv1.ClearCacheRequest) (*adminv1.ClearCacheResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	s.pool.ClearCaches(provider)
	return &adminv1.ClearCacheResponse{Receipt: s.receipt(ctx, wait, everywhere)}, nil
}
