package leaseapi

import (
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func TestTokensOnTheWire(t *testing.T) {
	hash := sha256.Sum256([]byte("t"))
	bare := &leasev1.ClientToken{Id: 1, Revision: 2, Hash: hash[:]}
	if got := clientToken(pool.Token{ID: 1, Revision: 2, Hash: hash}); !proto.Equal(got, bare) {
		t.Errorf("without bounds: got %v", got)
	}
	for _, cache := range []*bool{nil, new(true), new(false)} {
		got := clientToken(pool.Token{
			ID: 1, Revision: 2, Hash: hash, Provider: "ollama", Tenant: "a",
			AllowedCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			Limits:       pool.Limits{RequestsPerMinute: 3, TokensPerMinute: 4, MaxConcurrent: 5}, Cache: cache,
		})
		want := &leasev1.ClientToken{
			Id: 1, Revision: 2, Hash: hash[:], ProviderIds: []string{"ollama"}, Tenant: "a", AllowedCidrs: []string{"10.0.0.0/8", "::1/128"},
			Limits: &leasev1.TokenLimits{Policy: leasev1.Policy_POLICY_SOFT, RequestsPerMinute: 3, TokensPerMinute: 4, MaxConcurrent: 5}, Cache: cache,
		}
		if !proto.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
}

func TestProvidersOnTheWire(t *testing.T) {
	for _, row := range []struct {
		affinity string
		ttl      time.Duration
		want     leasev1.Affinity
		wantTTL  *durationpb.Duration
	}{
		{pool.AffinityOnRequest, 0, leasev1.Affinity_AFFINITY_ON_REQUEST, nil},
		{pool.AffinityPrompt, time.Minute, leasev1.Affinity_AFFINITY_PROMPT, durationpb.New(time.Minute)},
	} {
		got := provider(pool.Provider{
			ID: "p", ModelAliases: map[string]string{"a": "b"}, Affinity: row.affinity, Patience: 1500 * time.Millisecond, CacheTTL: row.ttl,
		})
		if got.GetAffinity() != row.want || !proto.Equal(got.GetCacheTtl(), row.wantTTL) || got.GetModelAliases()["a"] != "b" ||
			got.GetPatience().AsDuration() != 1500*time.Millisecond {
			t.Errorf("%+v: got %v", row, got)
		}
	}
}

func TestReportsOfUsage(t *testing.T) {
	a := &API{cfg: Config{Now: time.Now}}
	b, err := a.batch("n", &leasev1.ReportOutcomesRequest{NodeEpoch: 1, Seq: 1, Batch: &leasev1.OutcomeBatch{
		Models: []*leasev1.ModelRef{{ProviderId: "p", Name: "m"}},
		Keys:   []*leasev1.KeyCounters{{KeyId: 7, Ok: 1, FirstByteMsSum: 9, InputTokens: 10, OutputTokens: 20, EstimatedTokens: 30, Unknown: 4}},
		Tokens: []*leasev1.TokenCounters{{TokenId: 8, Ok: 2, InputTokens: 11, OutputTokens: 21, EstimatedTokens: 31, FromCache: 1, Unknown: 5}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	k, r := b.Keys[0].Counts, b.Tokens[0].Counts
	if k.Usage() != (stats.Usage{Input: 10, Output: 20, Estimated: 30}) || k.Total() != 5 || k.Failure() != 0 ||
		k[stats.AttemptFirstByteMsSum] != 9 {
		t.Errorf("of the key: %v", k)
	}
	if r.Usage() != (stats.Usage{Input: 11, Output: 21, Estimated: 31}) || r.Total() != 7 || r.Failure() != 0 ||
		r[stats.RequestFromCache] != 1 {
		t.Errorf("of the token: %v", r)
	}
}

func TestCachesOfANode(t *testing.T) {
	got := nodeStatus(&leasev1.NodeStatus{Caches: []*leasev1.CacheStatus{{
		ProviderId: "p", ModelLists: 1, ModelListBytes: 2, ModelListHits: 3, ModelListMisses: 4, Answers: 5, AnswerBytes: 6, AnswerHits: 7, AnswerMisses: 8,
	}}}).Caches
	want := pool.CacheStatus{
		Provider: "p", Lists: 1, Bytes: 2, Hits: 3, Misses: 4, Answers: 5, AnswerBytes: 6, AnswerHits: 7, AnswerMisses: 8,
	}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
