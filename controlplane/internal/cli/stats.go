package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func statsCommand() *cobra.Command {
	var provider string
	var o *options
	c := &cobra.Command{
		Use: "stats", Short: "Show the overall figures", Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			out := &adminv1.GetStatsResponse{}
			return o.ask(c, "GET", "/admin/stats", ofProvider(provider), nil, out, func() error { return statsTable(out).print(c.OutOrStdout()) })
		},
	}
	o = addOptions(c)
	c.Flags().StringVar(&provider, "provider", "", "only this provider")
	return c
}

func statsTable(s *adminv1.GetStatsResponse) *table {
	t := &table{heading: []string{
		"PROVIDER", "KEYS", "ACTIVE", "FAILED", "REQUESTS", "SUCCESS", "FAILURE", "ATTEMPTS", "FAILED ATTEMPTS",
		"INPUT TOKENS", "OUTPUT TOKENS",
	}}
	for _, p := range s.GetProviders() {
		t.add(p.GetProvider(), p.GetTotalApiKeys(), p.GetActiveKeys(), p.GetFailedKeys(), count(p.GetTotalRequests()),
			count(p.GetSuccessCount()), count(p.GetFailureCount()), count(p.GetUpstreamAttempts()), count(p.GetAttemptFailures()),
			count(p.GetInputTokens()), count(p.GetOutputTokens()))
	}
	t.add("ALL", s.GetTotalApiKeys(), s.GetActiveKeys(), s.GetFailedKeys(), count(s.GetTotalRequests()),
		count(s.GetSuccessCount()), count(s.GetFailureCount()), count(s.GetUpstreamAttempts()), count(s.GetAttemptFailures()),
		count(s.GetInputTokens()), count(s.GetOutputTokens()))
	return t
}

// count writes a large number without an exponent.
func count(n float64) string { return fmt.Sprintf("%.0f", n) }
