package cli

import (
	"net/url"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const keysPath = "/admin/api-keys"

func keysCommand() *cobra.Command {
	c := group("keys", "Upstream keys")
	o := addOptions(c)
	c.AddCommand(keysAdd(o), keysCheck(o), keysDelete(o), keysDisable(o), keysEnable(o), keysImport(o), keysList(o), keysRestore(o),
		keysVerify(o))
	return c
}

func keysList(o *options) *cobra.Command {
	filter := map[string]*string{"provider": new(""), "status": new(""), "reason": new(""), "category": new(""), "search": new("")}
	c := &cobra.Command{
		Use: "list", Short: "List the keys", Args: arguments(0, 0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range filter {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			return listKeys(c, o, query)
		},
	}
	for name, value := range filter {
		c.Flags().StringVar(value, name, "", "only keys with this "+name)
	}
	return c
}

func listKeys(c *cobra.Command, o *options, query url.Values) error {
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	all := &adminv1.ListKeysResponse{}
	fresh := func() *adminv1.ListKeysResponse { return &adminv1.ListKeysResponse{} }
	if err := pages(c.Context(), api, keysPath, query, fresh, func(p *adminv1.ListKeysResponse) {
		all.ApiKeys, all.Total = append(all.ApiKeys, p.GetApiKeys()...), p.GetTotal()
	}); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), all)
	}
	return keyTable(all.GetApiKeys()).print(c.OutOrStdout())
}

func keyTable(keys []*adminv1.ApiKey) *table {
	t := &table{heading: []string{"ID", "PROVIDER", "STATUS", "REASON", "UNTIL", "KEY", "CATEGORY", "ATTEMPTS", "FAILED", "LABEL"}}
	for _, k := range keys {
		t.add(k.GetId(), k.GetProvider(), k.GetStatus(), k.GetReason(), when(k.GetUntil()), k.GetDisplay(), k.GetCategory(),
			k.GetStats().GetTotal(), k.GetStats().GetFailure(), k.GetLabel())
	}
	return t
}

func keysEnable(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "enable ID…", Short: "Put keys back in use and clear what was held against them",
		Args: arguments(1, -1, "the ids of the keys (k_…)"),
		RunE: func(c *cobra.Command, ids []string) error {
			out := &adminv1.EnableKeysResponse{}
			return o.ask(c, "POST", "/admin/keys/enable", nil, &adminv1.EnableKeysRequest{Ids: ids}, out, func() error {
				return keyTable(out.GetApiKeys()).print(c.OutOrStdout())
			})
		},
	}
}
