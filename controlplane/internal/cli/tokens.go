package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const tokensPath = "/admin/tokens"

func tokensCommand() *cobra.Command {
	c := group("tokens", "Client tokens")
	o := addOptions(c)
	c.AddCommand(tokensCreate(o), tokensList(o), tokensRevoke(o))
	return c
}

func tokensCreate(o *options) *cobra.Command {
	in := &adminv1.CreateTokenRequest{}
	var ttl time.Duration
	var carry bool
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a client token and print it, alone, on standard output",
		Args: arguments(1, 1, "a name for the token"),
		RunE: func(c *cobra.Command, args []string) error {
			in.Name, in.ExpiresIn = args[0], ttl.Seconds()
			if carry {
				token, err := readSecret(c)
				if err != nil {
					return err
				}
				in.Token = token
			}
			out := &adminv1.CreateTokenResponse{}
			return o.ask(c, "POST", tokensPath, nil, in, out, func() error {
				if carry {
					t := &table{heading: []string{"ID", "TOKEN", "CREATED", "NAME"}}
					made := out.GetClientToken()
					t.add(made.GetId(), made.GetDisplay(), out.GetCreated(), made.GetName())
					return t.print(c.OutOrStdout())
				}
				warn(c, "token %s: it cannot be shown again", out.GetClientToken().GetId())
				_, err := fmt.Fprintln(c.OutOrStdout(), out.GetToken())
				return err
			})
		},
	}
	c.Flags().BoolVar(&carry, "carry-over", false, "carry over the token on standard input, which clients have already")
	c.Flags().DurationVar(&ttl, "ttl", 0, "life of the token, such as 720h; 0: without end")
	c.Flags().StringVar(&in.Provider, "provider", "", "provider it may use (default all)")
	c.Flags().StringArrayVar(&in.Models, "model", nil, "glob of models it may use; may be repeated (default all)")
	return c
}

// readSecret reads one secret from standard input.
func readSecret(c *cobra.Command) (string, error) {
	text, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 1<<10))
	secret := strings.TrimSpace(string(text))
	if err != nil || secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", usage("give one secret, alone, on standard input")
	}
	return secret, nil
}

func tokensRevoke(o *options) *cobra.Command {
	var wait receiptWait
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a client token and say which nodes have confirmed it (exit 3: not all)",
		Args:  arguments(1, 1, "the id of the token (t_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			out := &adminv1.DeleteTokenResponse{}
			if err := o.ask(c, "DELETE", tokensPath, wait.query(), &adminv1.DeleteTokenRequest{Id: ids[0]}, out, func() error { return nil }); err != nil {
				return err
			}
			return tellReceipt(c, "revoked", out.GetReceipt())
		},
	}
	wait.add(c)
	return c
}

func tokensList(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the client tokens", Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error { return listTokens(c, o) },
	}
}

func listTokens(c *cobra.Command, o *options) error {
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	all := &adminv1.ListTokensResponse{}
	fresh := func() *adminv1.ListTokensResponse { return &adminv1.ListTokensResponse{} }
	if err := pages(c.Context(), api, tokensPath, url.Values{}, fresh, func(p *adminv1.ListTokensResponse) {
		all.ClientTokens, all.Total = append(all.ClientTokens, p.GetClientTokens()...), p.GetTotal()
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), all)
	}
	t := &table{heading: []string{"ID", "STATUS", "PROVIDER", "TOKEN", "REQUESTS", "EXPIRES", "NAME"}}
	for _, k := range all.GetClientTokens() {
		t.add(k.GetId(), k.GetStatus(), k.GetProvider(), k.GetDisplay(), k.GetStats().GetTotal(), when(k.GetExpireTime()), k.GetName())
	}
	return t.print(c.OutOrStdout())
}
