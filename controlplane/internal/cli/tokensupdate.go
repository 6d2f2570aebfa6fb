package cli

import (
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// tokenChange holds the flags of a change.
type tokenChange struct {
	tokenBounds

	name, provider string
	models         []string
	ttl            time.Duration
}

func tokensUpdate(o *options) *cobra.Command {
	var change tokenChange
	c := &cobra.Command{
		Use: "update ID", Short: "Change what the flags name of a client token, and nothing else",
		Long: "Change what the flags name of a client token, and nothing else. 0 takes a bound away; so does an empty text, as in\n" +
			"--allow-from ''. What may be repeated replaces all that was there. --strict=false takes --strict back.",
		Args: arguments(1, 1, "the id of the token (t_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			body, err := change.body(c)
			if err != nil {
				return err
			}
			out := &adminv1.ClientToken{}
			return o.ask(c, "PATCH", tokensPath+"/"+ids[0], nil, body, out, func() error {
				return tokenTable([]*adminv1.ClientToken{out}).print(c.OutOrStdout())
			})
		},
	}
	c.Flags().StringVar(&change.name, "name", "", "another name")
	c.Flags().StringVar(&change.provider, "provider", "", "provider it may use; empty: all")
	c.Flags().StringArrayVar(&change.models, "model", nil, "glob of models it may use; may be repeated; empty: all")
	c.Flags().DurationVar(&change.ttl, "ttl", 0, "life from now on, such as 720h; 0: without end")
	change.add(c)
	return c
}

// body answers the fields that flags name, also those that become zero: what is not in the body stays as it is.
func (t *tokenChange) body(c *cobra.Command) (*structpb.Struct, error) {
	keeps, err := t.keeps()
	if err != nil {
		return nil, err
	}
	fields, limits, budget := map[string]any{}, map[string]any{}, map[string]any{}
	set := func(flag string, in map[string]any, field string, value any) {
		if c.Flags().Changed(flag) {
			in[field] = value
		}
	}
	set("name", fields, "name", t.name)
	set("provider", fields, "provider", t.provider)
	set("model", fields, "models", texts(listed(t.models)))
	set("ttl", fields, "expireTime", t.expires())
	set("allow-from", fields, "allowedCidrs", texts(listed(t.from)))
	set("tenant", fields, "tenant", t.tenant)
	set("cache", fields, "cache", orNull(keeps))
	set("requests-per-minute", limits, "requestsPerMinute", t.requests)
	set("tokens-per-minute", limits, "tokensPerMinute", t.tokens)
	set("max-concurrent", limits, "maxConcurrent", t.concurrent)
	set("strict", limits, "policy", t.policy())
	set("requests-per-day", budget, "requestsPerDay", t.requestsPerDay)
	set("tokens-per-day", budget, "tokensPerDay", t.tokensPerDay)
	set("requests-per-month", budget, "requestsPerMonth", t.requestsPerMonth)
	set("tokens-per-month", budget, "tokensPerMonth", t.tokensPerMonth)
	if len(limits) > 0 {
		fields["limits"] = limits
	}
	if len(budget) > 0 {
		fields["budget"] = budget
	}
	if len(fields) == 0 {
		return nil, usage("name what is to change: see %s --help", c.CommandPath())
	}
	body, err := structpb.NewStruct(fields)
	if err != nil {
		return nil, usage("a text is not UTF-8") // the error itself would quote it
	}
	return body, nil
}

// expires answers the end of the life; nil: it has none.
func (t *tokenChange) expires() any {
	if t.ttl == 0 {
		return nil
	}
	return time.Now().Add(t.ttl).UTC().Format(time.RFC3339)
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func orNull(b *bool) any {
	if b == nil {
		return nil
	}
	return *b
}
