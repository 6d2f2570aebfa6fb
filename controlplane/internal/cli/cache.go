package cli

import (
	"net/url"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func cacheCommand() *cobra.Command {
	c := group("cache", "What data planes keep of upstreams' answers")
	o := addOptions(c)
	c.AddCommand(cacheClear(o), cacheStats(o))
	return c
}

func cacheStats(o *options) *cobra.Command {
	var provider string
	c := &cobra.Command{
		Use: "stats", Short: "Show what is kept and how it served", Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			out := &adminv1.GetCacheStatsResponse{}
			return o.ask(c, "GET", "/admin/cache/stats", ofProvider(provider), nil, out, func() error {
				return cacheTable(out).print(c.OutOrStdout())
			})
		},
	}
	c.Flags().StringVar(&provider, "provider", "", "only this provider's")
	return c
}

func cacheTable(s *adminv1.GetCacheStatsResponse) *table {
	t := &table{heading: []string{"NODE", "REGION", "KEPT", "ENTRIES", "BYTES", "HITS", "MISSES"}}
	add := func(node, region, kept string, f *adminv1.CacheFigures) {
		t.add(node, region, kept, count(f.GetEntries()), count(f.GetBytes()), count(f.GetHits()), count(f.GetMisses()))
	}
	for _, n := range s.GetNodes() {
		add(n.GetNode(), n.GetRegion(), "models", n.GetModels())
		add(n.GetNode(), n.GetRegion(), "responses", n.GetResponses())
	}
	add("ALL", "", "models", s.GetModels())
	add("ALL", "", "responses", s.GetResponses())
	return t
}

func cacheClear(o *options) *cobra.Command {
	in := &adminv1.ClearCacheRequest{}
	var wait receiptWait
	c := &cobra.Command{
		Use: "clear", Short: "Have every data plane forget what it keeps (exit 3: not all have confirmed)",
		Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			out := &adminv1.ClearCacheResponse{}
			if err := o.ask(c, "POST", "/admin/cache/clear", wait.query(), in, out, func() error { return nil }); err != nil {
				return err
			}
			return tellReceipt(c, "cleared", out.GetReceipt())
		},
	}
	c.Flags().StringVar(&in.Provider, "provider", "", "only what is of this provider")
	wait.add(c)
	return c
}

func ofProvider(id string) url.Values {
	if id == "" {
		return nil
	}
	return url.Values{"provider": {id}}
}
