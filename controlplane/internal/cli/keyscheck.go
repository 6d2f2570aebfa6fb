package cli

import (
	"strings"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func keysCheck(o *options) *cobra.Command {
	in := &adminv1.CheckKeysRequest{}
	var apply bool
	c := &cobra.Command{
		Use:   "check [ID…]",
		Short: "Ask the upstreams about keys; exit 3: not all are good",
		Long: "Ask the upstreams about keys: those named, those with a status, or all. The answers take effect, unless there are\n" +
			"more than 1000 keys or --apply=false is given: a good key comes back, a rejected one is put out, a limited one waits.",
		Args: arguments(0, -1, "ids of keys (k_…), or none for all"),
		RunE: func(c *cobra.Command, ids []string) error {
			in.Ids = ids
			if c.Flags().Changed("apply") {
				in.Apply = &apply
			}
			return checkKeys(c, o, in)
		},
	}
	c.Flags().StringVar(&in.Provider, "provider", "", "only keys of this provider")
	c.Flags().StringVar(&in.Status, "status", "", "only keys with this status")
	c.Flags().BoolVar(&apply, "apply", true, "let the answers take effect")
	return c
}

func checkKeys(c *cobra.Command, o *options, in *adminv1.CheckKeysRequest) error {
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	job := &adminv1.Job{}
	if err := api.patient().call(c.Context(), "POST", "/admin/keys/health-check", nil, in, job); err != nil {
		return err
	}
	if asJSON {
		err = printJSON(c.OutOrStdout(), job)
	} else {
		t := &table{heading: []string{"ID", "KEY", "RESULT", "REASON", "BEFORE", "AFTER"}}
		for _, r := range job.GetResults() {
			t.add(r.GetId(), r.GetDisplay(), r.GetResult(), r.GetReason(), r.GetBefore(), r.GetAfter())
		}
		err = t.print(c.OutOrStdout())
	}
	if err != nil {
		return err
	}
	effect := "changed nothing: --apply lets them take effect"
	if !job.GetDryRun() {
		effect = "have taken effect"
	}
	warn(c, "%s; the answers %s", told(job.GetCounts()), effect)
	if job.GetCounts()["valid"] < job.GetTotal() {
		return failed(exitPartly, "not all keys are good")
	}
	return nil
}

func keysVerify(o *options) *cobra.Command {
	in := &adminv1.VerifyKeyRequest{}
	c := &cobra.Command{
		Use:   "verify ID|-",
		Short: "Ask the upstream about one key, from standard input or of the pool; changes nothing. Exit 1: it is not good",
		Args:  arguments(1, 1, "the id of a key (k_…), or - to read a key from standard input"),
		RunE: func(c *cobra.Command, args []string) error {
			if in.Id = args[0]; args[0] == "-" {
				in.Id = ""
				key, err := readSecret(c)
				if err != nil {
					return err
				}
				in.ApiKey = key
			}
			out := &adminv1.VerifyKeyResponse{}
			err := o.ask(c, "POST", "/admin/verify-key", nil, in, out, func() error {
				t := &table{heading: []string{"VALID", "STATUS", "CATEGORY", "MODELS", "REASON"}}
				t.add(out.GetValid(), out.GetStatus(), out.GetCategory(), strings.Join(out.GetModels(), ","), out.GetReason())
				return t.print(c.OutOrStdout())
			})
			if err == nil && !out.GetValid() {
				return failed(exitFailed, "%s", out.GetError())
			}
			return err
		},
	}
	c.Flags().StringVar(&in.Provider, "provider", "", "provider of the key (default ollama)")
	return c
}
