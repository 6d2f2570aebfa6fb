package adminapi

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/stats"
)

// nothing are the figures of a control plane that counts nothing.
type nothing struct{}

func (nothing) Key(pool.KeyID) stats.KeyStats                  { return stats.KeyStats{} }
func (nothing) KeyHours(pool.KeyID, time.Time) []stats.KeyHour { return nil }
func (nothing) KeyEvents(pool.KeyID) ([]pool.Event, error)     { return nil, nil }
func (nothing) Token(pool.TokenID) stats.TokenStats            { return stats.TokenStats{} }
func (nothing) Providers() []stats.ProviderStats               { return nil }
func (nothing) Models(pool.ProviderID, int) []stats.ModelStats { return nil }
func (nothing) Hours(pool.ProviderID, time.Time) []stats.Hour  { return nil }

// nobody is the prober of a control plane that asks nobody.
type nobody struct{}

func (nobody) Check(context.Context, pool.Provider, pool.Secret) (probe.Answer, error) {
	return probe.Answer{Reason: probe.Unreachable}, nil
}

func (n nobody) Examine(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, probe.Models, error) {
	a, err := n.Check(ctx, of, key)
	return a, probe.Models{}, err
}

// rate answers the share of successes, or nil of nothing.
func rate(success, failure uint64) *float64 {
	if success+failure == 0 {
		return nil
	}
	return new(float64(success) / float64(success+failure))
}

// stamp answers nil for the zero time, which is left out of JSON.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}
