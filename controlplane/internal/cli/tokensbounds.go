package cli

import (
	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// tokenBounds are the flags that making and changing a token share. 0 and empty mean: no bound.
type tokenBounds struct {
	requests, tokens, concurrent     int32
	requestsPerDay, requestsPerMonth int32
	tokensPerDay, tokensPerMonth     int64
	strict                           bool
	from                             []string
	tenant, cache                    string
}

func (b *tokenBounds) add(c *cobra.Command) {
	c.Flags().Int32Var(&b.requests, "requests-per-minute", 0, "requests in any minute, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.tokens, "tokens-per-minute", 0, "input and output tokens in any minute, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.concurrent, "max-concurrent", 0, "requests at the same time, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.requestsPerDay, "requests-per-day", 0, "requests in a day of UTC; 0: no bound")
	c.Flags().Int64Var(&b.tokensPerDay, "tokens-per-day", 0, "input and output tokens in a day of UTC; 0: no bound")
	c.Flags().Int32Var(&b.requestsPerMonth, "requests-per-month", 0, "requests in a month of UTC; 0: no bound")
	c.Flags().Int64Var(&b.tokensPerMonth, "tokens-per-month", 0, "input and output tokens in a month of UTC; 0: no bound")
	c.Flags().BoolVar(&b.strict, "strict", false, "a data plane without its control plane keeps to what is kept for it of the limits")
	c.Flags().StringArrayVar(&b.from, "allow-from", nil, "address or range (10.0.0.0/8) that requests may come from; may be repeated (default all)")
	c.Flags().StringVar(&b.tenant, "tenant", "", "tokens with the same tenant share kept answers (default it is alone)")
	c.Flags().StringVar(&b.cache, "cache", "default", "whether its answers are kept: on, off, or default: as the provider says")
}

// keeps answers whether answers are kept; nil: as the provider says.
func (b *tokenBounds) keeps() (*bool, error) {
	switch b.cache {
	case "on":
		return new(true), nil
	case "off":
		return new(false), nil
	case "default":
		return nil, nil
	default:
		return nil, usage("--cache must be on, off or default")
	}
}

func (b *tokenBounds) policy() string {
	if b.strict {
		return "strict"
	}
	return "adaptive"
}

// create puts the bounds into a request.
func (b *tokenBounds) create(in *adminv1.CreateTokenRequest) error {
	in.Limits = &adminv1.TokenLimits{
		RequestsPerMinute: b.requests, TokensPerMinute: b.tokens, MaxConcurrent: b.concurrent, Policy: b.policy(),
	}
	in.Budget = &adminv1.TokenBudget{
		RequestsPerDay: b.requestsPerDay, TokensPerDay: float64(b.tokensPerDay),
		RequestsPerMonth: b.requestsPerMonth, TokensPerMonth: float64(b.tokensPerMonth),
	}
	in.AllowedCidrs, in.Tenant = listed(b.from), b.tenant
	var err error
	in.Cache, err = b.keeps()
	return err
}

// listed answers the values of a flag that may be repeated; given once and empty, it means none.
func listed(values []string) []string {
	if len(values) == 1 && values[0] == "" {
		return nil
	}
	return values
}
