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
	c.AddCommand(tokensCreate(o), tokensList(o), tokensRevoke(o), tokensUpdate(o))
	return c
}

func tokensCreate(o *options) *cobra.Command {
	in := &adminv1.CreateTokenRequest{}
	var ttl time.Duration
	var carry bool
	var bounds tokenBounds
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a client token and print it, alone, on standard output",
		Args: arguments(1, 1, "a name for the token"),
		RunE: func(c *cobra.Command, args []string) error {
			in.Name, in.ExpiresIn = args[0], ttl.Seconds()
			if err := bounds.create(in); err != nil {
				return err
			}
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
	bounds.add(c)
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
	return tokenTable(all.GetClientTokens()).print(c.OutOrStdout())
}

func tokenTable(tokens []*adminv1.ClientToken) *table {
	t := &table{heading: []string{"ID", "STATUS", "PROVIDER", "TOKEN", "REQUESTS", "EXPIRES", "LIMITS", "NAME"}}
	for _, k := range tokens {
		t.add(k.GetId(), k.GetStatus(), k.GetProvider(), k.GetDisplay(), count(k.GetStats().GetTotal()), when(k.GetExpireTime()),
			limitsOf(k), k.GetName())
	}
	return t
}

// limitsOf tells in a few words what bounds a token.
func limitsOf(k *adminv1.ClientToken) string {
	var words []string
	for _, bound := range []struct {
		most float64
		what string
	}{
		{float64(k.GetLimits().GetRequestsPerMinute()), "req/min"},
		{float64(k.GetLimits().GetTokensPerMinute()), "tok/min"},
		{float64(k.GetLimits().GetMaxConcurrent()), "at once"},
		{float64(k.GetBudget().GetRequestsPerDay()), "req/day"},
		{k.GetBudget().GetTokensPerDay(), "tok/day"},
		{float64(k.GetBudget().GetRequestsPerMonth()), "req/month"},
		{k.GetBudget().GetTokensPerMonth(), "tok/month"},
	} {
		if bound.most > 0 {
			words = append(words, count(bound.most)+" "+bound.what)
		}
	}
	if p := k.GetLimits().GetPolicy(); p != "" && p != "adaptive" {
		words = append(words, p)
	}
	if from := k.GetAllowedCidrs(); len(from) == 1 {
		words = append(words, "from "+from[0])
	} else if len(from) > 1 {
		words = append(words, fmt.Sprintf("from %s and %d more", from[0], len(from)-1))
	}
	return strings.Join(words, ", ")
}
