package cli

import (
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func keysDisable(o *options) *cobra.Command {
	var span time.Duration
	var wait receiptWait
	var note string
	var force, cancel bool
	c := &cobra.Command{
		Use:   "disable ID…",
		Short: "Take keys out of use and say which nodes have confirmed it (exit 3: not all)",
		Args:  arguments(1, -1, "the ids of the keys (k_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			in := &adminv1.DisableKeysRequest{Ids: ids, Note: note, Duration: span.Seconds(), Force: force, CancelInFlight: cancel}
			out := &adminv1.DisableKeysResponse{}
			if err := o.ask(c, "POST", "/admin/keys/disable", wait.query(), in, out, func() error {
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
	c.Flags().BoolVar(&cancel, "cancel-in-flight", false, "cut off requests that are under way with them too, because they have leaked")
	wait.add(c)
	return c
}
