package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const nodesPath = "/admin/nodes"

func nodesCommand() *cobra.Command {
	c := group("nodes", "Data planes")
	o := addOptions(c)
	c.AddCommand(nodesDrain(o), nodesEvict(o), nodesJoinToken(o), nodesList(o), nodesResume(o))
	return c
}

func nodesJoinToken(o *options) *cobra.Command {
	in := &adminv1.CreateJoinTokenRequest{}
	var ttl time.Duration
	c := &cobra.Command{
		Use: "join-token", Short: "Make a token that lets one node in, and print it, alone, on standard output",
		Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			in.Ttl = ttl.Seconds()
			out := &adminv1.CreateJoinTokenResponse{}
			return o.ask(c, "POST", nodesPath+"/join-tokens", nil, in, out, func() error {
				warn(c, "good for one node until %s; it cannot be shown again", when(out.GetExpireTime()))
				_, err := fmt.Fprintln(c.OutOrStdout(), out.GetJoinToken())
				return err
			})
		},
	}
	c.Flags().StringVar(&in.Region, "region", "", "the only region it is good for (default any)")
	c.Flags().DurationVar(&ttl, "ttl", 15*time.Minute, "life of the token")
	return c
}

func nodesList(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the nodes", Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			out := &adminv1.ListNodesResponse{}
			return o.ask(c, "GET", nodesPath, nil, nil, out, func() error {
				return nodeTable(out.GetNodes()...).print(c.OutOrStdout())
			})
		},
	}
}

func nodeTable(nodes ...*adminv1.Node) *table {
	t := &table{heading: []string{"NODE", "REGION", "ZONE", "STATE", "KEYS", "LAG", "IN FLIGHT", "REQ/S", "VERSION", "LAST SEEN"}}
	for _, n := range nodes {
		t.add(n.GetId(), n.GetRegion(), n.GetZone(), n.GetState(), n.GetLeasesHeld(), n.GetRevisionLag(), n.GetInFlight(),
			fmt.Sprintf("%.1f", n.GetRequestsPerSecond()), n.GetVersion(), when(n.GetLastSeenTime()))
	}
	return t
}
