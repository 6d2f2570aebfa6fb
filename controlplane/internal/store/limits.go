package store

import (
	storev1 "ollama-api-pool/gen/pool/store/v1"

	"ollama-api-pool/controlplane/internal/pool"
)

// limitsRecord answers nil where nothing is bounded.
func limitsRecord(l pool.Limits) *storev1.LimitsRecord {
	if l == (pool.Limits{}) {
		return nil
	}
	return &storev1.LimitsRecord{
		RequestsPerMinute: l.RequestsPerMinute, TokensPerMinute: l.TokensPerMinute, MaxConcurrent: l.MaxConcurrent,
		RequestsPerDay: l.RequestsPerDay, TokensPerDay: l.TokensPerDay,
		RequestsPerMonth: l.RequestsPerMonth, TokensPerMonth: l.TokensPerMonth, Hard: l.Hard,
	}
}

// budgetRecord is limitsRecord for what a token's record does not hold in fields of its own.
func budgetRecord(l pool.Limits) *storev1.LimitsRecord {
	l.RequestsPerMinute, l.TokensPerMinute, l.MaxConcurrent = 0, 0, 0
	return limitsRecord(l)
}

func limitsOf(r *storev1.LimitsRecord) pool.Limits {
	return pool.Limits{
		RequestsPerMinute: r.GetRequestsPerMinute(), TokensPerMinute: r.GetTokensPerMinute(), MaxConcurrent: r.GetMaxConcurrent(),
		RequestsPerDay: r.GetRequestsPerDay(), TokensPerDay: r.GetTokensPerDay(),
		RequestsPerMonth: r.GetRequestsPerMonth(), TokensPerMonth: r.GetTokensPerMonth(), Hard: r.GetHard(),
	}
}
