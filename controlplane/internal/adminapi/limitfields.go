package adminapi

import (
	"fmt"
	"math"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// leastStale is the shortest time after which a key may be too stale to be used: nodes hear from the control plane every ten
// seconds, and one word may be late without a gap in what clients see.
const leastStale = 15 * time.Second

// The policies of limits; an empty one means the first of each.
const (
	policySoft     = "soft"
	policyHard     = "hard"
	policyAdaptive = "adaptive"
	policyStrict   = "strict"
)

// keyLimits are the parts of a key's limits.
var keyLimits = []string{
	"limits.requests_per_minute", "limits.tokens_per_minute", "limits.max_concurrent", "limits.requests_per_day",
	"limits.tokens_per_day", "limits.policy",
}

// setKeyLimit sets one part of a key's limits. The rules of the proto bound the numbers.
func setKeyLimit(l *pool.Limits, to *adminv1.KeyLimits, part string) (err error) {
	switch part {
	case "limits.requests_per_minute":
		l.RequestsPerMinute = uint64(to.GetRequestsPerMinute())
	case "limits.tokens_per_minute":
		l.TokensPerMinute = uint64(to.GetTokensPerMinute())
	case "limits.max_concurrent":
		l.MaxConcurrent = uint64(to.GetMaxConcurrent())
	case "limits.requests_per_day":
		l.RequestsPerDay = uint64(to.GetRequestsPerDay())
	case "limits.tokens_per_day":
		l.TokensPerDay, err = whole("limits.tokensPerDay", to.GetTokensPerDay())
	case "limits.policy":
		l.Hard = to.GetPolicy() == policyHard
	}
	return err
}

// tokenLimits and tokenBudget are the parts of what bounds a token.
var (
	tokenLimits = []string{"limits.requests_per_minute", "limits.tokens_per_minute", "limits.max_concurrent", "limits.policy"}
	tokenBudget = []string{
		"budget.requests_per_day", "budget.tokens_per_day", "budget.requests_per_month", "budget.tokens_per_month",
	}
)

// setTokenBound sets one part of what bounds a token. The rules of the proto bound the numbers.
func setTokenBound(l *pool.Limits, to *adminv1.ClientToken, part string) (err error) {
	limits, budget := to.GetLimits(), to.GetBudget()
	switch part {
	case "limits.requests_per_minute":
		l.RequestsPerMinute = uint64(limits.GetRequestsPerMinute())
	case "limits.tokens_per_minute":
		l.TokensPerMinute = uint64(limits.GetTokensPerMinute())
	case "limits.max_concurrent":
		l.MaxConcurrent = uint64(limits.GetMaxConcurrent())
	case "limits.policy":
		l.Hard = limits.GetPolicy() == policyStrict
	case "budget.requests_per_day":
		l.RequestsPerDay = uint64(budget.GetRequestsPerDay())
	case "budget.tokens_per_day":
		l.TokensPerDay, err = whole("budget.tokensPerDay", budget.GetTokensPerDay())
	case "budget.requests_per_month":
		l.RequestsPerMonth = uint64(budget.GetRequestsPerMonth())
	case "budget.tokens_per_month":
		l.TokensPerMonth, err = whole("budget.tokensPerMonth", budget.GetTokensPerMonth())
	}
	return err
}

// whole reads a number that JSON may write with a fraction. That it is not negative, and what it is at most, the rules of the
// proto have checked.
func whole(field string, n float64) (uint64, error) {
	if n != math.Trunc(n) {
		return 0, invalid(field, "must be a whole number")
	}
	return uint64(n), nil
}

// readMaxStale reads for how long a key may be used without a word from here; 0: as long as lease and grace. A bound that is
// too short is refused rather than lengthened: whoever sets one relies on it.
func readMaxStale(n float64) (time.Duration, error) {
	secs, err := whole("maxStale", n)
	if err != nil {
		return 0, err
	}
	d := time.Duration(secs) * time.Second
	if d != 0 && d < leastStale {
		return 0, invalid("maxStale", fmt.Sprintf("must be 0, or at least %.0f", leastStale.Seconds()))
	}
	return d, nil
}

// wireKeyLimits answers nil where nothing is bounded.
func wireKeyLimits(l pool.Limits) *adminv1.KeyLimits {
	if l == (pool.Limits{}) {
		return nil
	}
	w := &adminv1.KeyLimits{
		RequestsPerMinute: int32(l.RequestsPerMinute), TokensPerMinute: int32(l.TokensPerMinute), MaxConcurrent: int32(l.MaxConcurrent),
		RequestsPerDay: int32(l.RequestsPerDay), TokensPerDay: float64(l.TokensPerDay), Policy: policySoft,
	}
	if l.Hard {
		w.Policy = policyHard
	}
	return w
}

func wireTokenLimits(l pool.Limits) *adminv1.TokenLimits {
	w := &adminv1.TokenLimits{
		RequestsPerMinute: int32(l.RequestsPerMinute), TokensPerMinute: int32(l.TokensPerMinute), MaxConcurrent: int32(l.MaxConcurrent),
		Policy: policyAdaptive,
	}
	if l.Hard {
		w.Policy = policyStrict
	}
	return w
}

// wireBudget answers nil where there is none.
func wireBudget(l pool.Limits) *adminv1.TokenBudget {
	if l.RequestsPerDay|l.TokensPerDay|l.RequestsPerMonth|l.TokensPerMonth == 0 {
		return nil
	}
	return &adminv1.TokenBudget{
		RequestsPerDay: int32(l.RequestsPerDay), TokensPerDay: float64(l.TokensPerDay),
		RequestsPerMonth: int32(l.RequestsPerMonth), TokensPerMonth: float64(l.TokensPerMonth),
	}
}
