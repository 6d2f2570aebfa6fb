package cli

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func keysDisable(o *options) *cobra.Command {
	var span, wait time.Duration
	var note string
	var force bool
	c := &cobra.Command{
		Use:   "disable ID…",
		Short: "Take keys out of use and say which nodes have confirmed it (exit 3: not all)",
		Args:  arguments(1, -1, "the ids of the keys (k_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			in := &adminv1.DisableKeysRequest{Ids: ids, Note: note, Duration: span.Seconds(), Force: force}
			query := url.Values{"wait": {strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)}}
			out := &adminv1.DisableKeysResponse{}
			if err := o.ask(c, "POST", "/admin/keys/disable", query, in, out, func() error {
				return keyTable(out.GetApiKeys()).print(c.OutOrStdout())
			}); err != nil {
				return err
			}
			return tellReceipt(c, "disabled", out.GetReceipt())
		},
	}
	c.Flags().DurationVar(&span, "for", 0, "for how long, such as 2h; 0: until enabled")
	c.Flags().StringVar(&note, "note", "", "why, for the record")
	c.Flags().BoolVar(&force, "force", false, "also if no usable key is left to the provider")
	c.Flags().DurationVar(&wait, "wait", 10*time.Second, "how long to wait for the nodes, at most 60s")
	return c
}

// tellReceipt says where what was done has arrived. It is done in any case; the error only tells that some nodes may not
// know yet.
func tellReceipt(c *cobra.Command, done string, r *adminv1.RevocationReceipt) error {
	if len(r.GetAcknowledged()) > 0 {
		warn(c, "confirmed by %s", strings.Join(r.GetAcknowledged(), ", "))
	}
	if len(r.GetPending()) > 0 {
		warn(c, "connected, but not confirmed yet: %s", strings.Join(r.GetPending(), ", "))
	}
	for _, u := range r.GetUnreachable() {
		warn(c, "out of reach: %s stops by %s at the latest", u.GetNode(), when(u.GetStopsBy()))
	}
	if len(r.GetPending())+len(r.GetUnreachable()) > 0 {
		return failed(exitPartly, "%s, but not every node has confirmed it", done)
	}
	return nil
}
