package cli

import (
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// keyBounds are the flags that say what may be used of keys. 0 and empty mean: no bound.
type keyBounds struct {
	group                                string
	requests, tokens, concurrent, perDay int32
	tokensPerDay                         int64
	hard                                 bool
	maxStale                             time.Duration
}

func (b *keyBounds) add(c *cobra.Command) {
	c.Flags().StringVar(&b.group, "group", "", "the account that they belong to: keys of one group share limits (default each is alone)")
	c.Flags().Int32Var(&b.requests, "requests-per-minute", 0, "requests in any minute, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.tokens, "tokens-per-minute", 0, "input and output tokens in any minute, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.concurrent, "max-concurrent", 0, "requests at the same time, over the whole fleet; 0: no bound")
	c.Flags().Int32Var(&b.perDay, "requests-per-day", 0, "requests in a day of UTC; 0: no bound")
	c.Flags().Int64Var(&b.tokensPerDay, "tokens-per-day", 0, "input and output tokens in a day of UTC; 0: no bound")
	c.Flags().BoolVar(&b.hard, "hard", false, "a data plane without its control plane keeps to what is kept for it of the limits")
	c.Flags().DurationVar(&b.maxStale, "max-stale", 0,
		"how long a data plane may use them without a word from the control plane, from 15s to 24h; 0: as long as lease and grace")
}

// create puts the bounds into a request.
func (b *keyBounds) create(in *adminv1.CreateKeyRequest) {
	in.Group, in.MaxStale = b.group, b.maxStale.Seconds()
	in.Limits = &adminv1.KeyLimits{
		RequestsPerMinute: b.requests, TokensPerMinute: b.tokens, MaxConcurrent: b.concurrent,
		RequestsPerDay: b.perDay, TokensPerDay: float64(b.tokensPerDay),
	}
	if b.hard {
		in.Limits.Policy = "hard"
	}
}
