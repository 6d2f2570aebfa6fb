package cli

import (
	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func keysDelete(o *options) *cobra.Command {
	var wait receiptWait
	var cancel bool
	c := &cobra.Command{
		Use:   "delete ID…",
		Short: "Delete keys and say which nodes have confirmed it (exit 3: not all, or some keys were not there)",
		Long:  "Delete keys and say which nodes have confirmed it. For 24 hours `keys restore` brings a key back.",
		Args:  arguments(1, -1, "the ids of the keys (k_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			in, out := &adminv1.DeleteKeysRequest{Ids: ids, CancelInFlight: cancel}, &adminv1.DeleteKeysResponse{}
			if err := o.ask(c, "DELETE", keysPath, wait.query(), in, out, func() error { return nil }); err != nil {
				return err
			}
			warn(c, "%d deleted, %d not there", out.GetDeleted(), out.GetNotFound())
			if out.GetDeleted() == 0 {
				return failed(exitNotFound, "no such key")
			}
			if err := tellReceipt(c, "deleted", out.GetReceipt()); err != nil {
				return err
			}
			if out.GetNotFound() > 0 {
				return failed(exitPartly, "some of the keys were not there")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&cancel, "cancel-in-flight", false, "cut off requests that are under way with them too, because they have leaked")
	wait.add(c)
	return c
}

func keysRestore(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "restore ID",
		Short: "Bring back a key that was deleted within the last 24 hours",
		Args:  arguments(1, 1, "the id of the key (k_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			out := &adminv1.ApiKey{}
			return o.ask(c, "POST", keysPath+"/"+ids[0]+":restore", nil, nil, out, func() error {
				return keyTable([]*adminv1.ApiKey{out}).print(c.OutOrStdout())
			})
		},
	}
}
