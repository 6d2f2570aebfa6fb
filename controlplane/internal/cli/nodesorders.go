package cli

import (
	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func nodesDrain(o *options) *cobra.Command {
	return nodesOrder(o, "drain", "Have a node finish what it is doing and take no new requests, until it is resumed")
}

func nodesResume(o *options) *cobra.Command {
	return nodesOrder(o, "resume", "End the drain of a node")
}

func nodesOrder(o *options, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NODE", Short: short, Args: arguments(1, 1, "the id of the node"),
		RunE: func(c *cobra.Command, ids []string) error {
			out := &adminv1.Node{}
			return o.ask(c, "POST", nodesPath+"/"+ids[0]+":"+verb, nil, nil, out, func() error {
				return nodeTable(out).print(c.OutOrStdout())
			})
		},
	}
}

func nodesEvict(o *options) *cobra.Command {
	var wait receiptWait
	c := &cobra.Command{
		Use:   "evict NODE",
		Short: "Put a node out for good and say whether it has stopped (exit 3: not yet)",
		Long: "Put a node out for good and say whether it has stopped. It is told to forget all keys, its certificate is not accepted\n" +
			"any more, and no node can join under its name again. This cannot be undone.",
		Args: arguments(1, 1, "the id of the node"),
		RunE: func(c *cobra.Command, ids []string) error {
			out := &adminv1.EvictNodeResponse{}
			if err := o.ask(c, "POST", nodesPath+"/"+ids[0]+":evict", wait.query(), nil, out, func() error {
				return nodeTable(out.GetNode()).print(c.OutOrStdout())
			}); err != nil {
				return err
			}
			return tellReceipt(c, "evicted", out.GetReceipt())
		},
	}
	wait.add(c)
	return c
}
