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
				t := &table{heading: []string{"NODE", "REGION", "ENTRIES", "BYTES", "HITS", "MISSES"}}
				for _, n := range out.GetNodes() {
					m := n.GetModels()
					t.add(n.GetNode(), n.GetRegion(), count(m.GetEntries()), count(m.GetBytes()), count(m.GetHits()), count(m.GetMisses()))
				}
				m := out.GetModels()
				t.add("ALL", "", count(m.GetEntries()), count(m.GetBytes()), count(m.GetHits()), count(m.GetMisses()))
				return t.print(c.OutOrStdout())
			})
		},
	}
	c.Flags().StringVar(&provider, "provider", "", "only this provider's")
	return c
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
