package cli

import (
	"bufio"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

func keysAdd(o *options) *cobra.Command {
	in := &adminv1.CreateKeyRequest{}
	var ttl time.Duration
	var bounds keyBounds
	c := &cobra.Command{
		Use:   "add -",
		Short: "Add keys from standard input, one per line",
		Long: "Add keys from standard input, one per line. A key that is there already is left as it is.\n" +
			"Keys are never taken from the command line, which other users of the machine can see.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "-" {
				return usage("keys are read from standard input only: use `keys add -`, one key per line")
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			in.Ttl = ttl.Seconds()
			bounds.create(in)
			return addKeys(c, o, in)
		},
	}
	c.Flags().StringVar(&in.Provider, "provider", "", "provider of the keys (default ollama)")
	c.Flags().StringVar(&in.Label, "label", "", "name for the keys")
	c.Flags().DurationVar(&ttl, "ttl", 0, "life of the keys, such as 720h; 0: without end")
	c.Flags().StringArrayVar(&in.Models, "model", nil, "glob of models they may serve; may be repeated (default all)")
	c.Flags().StringArrayVar(&in.Regions, "region", nil, "region whose nodes may hold them; may be repeated (default all)")
	bounds.add(c)
	return c
}

// addKeys adds line by line, and goes on after a line that is refused. It tells the number of the line, never the line.
func addKeys(c *cobra.Command, o *options, in *adminv1.CreateKeyRequest) error {
	api, asJSON, err := o.begin(c)
	if err != nil {
		return err
	}
	t := &table{heading: []string{"ID", "PROVIDER", "KEY", "ADDED"}}
	lines := bufio.NewScanner(c.InOrStdin())
	done, bad, number := 0, 0, 0
	var last error
	for lines.Scan() {
		number++
		if in.ApiKey = lines.Text(); strings.TrimSpace(in.ApiKey) == "" {
			continue
		}
		out := &adminv1.CreateKeyResponse{}
		if last = api.call(c.Context(), "POST", keysPath, nil, in, out); last != nil {
			bad++
			warn(c, "line %d: %v", number, last)
			if hopeless(last) {
				break
			}
			continue
		}
		done++
		if asJSON {
			if err := printJSON(c.OutOrStdout(), out); err != nil {
				return err
			}
		}
		t.add(out.GetApiKey().GetId(), out.GetApiKey().GetProvider(), out.GetApiKey().GetDisplay(), out.GetCreated())
	}
	if done > 0 && !asJSON {
		if err := t.print(c.OutOrStdout()); err != nil {
			return err
		}
	}
	return added(done, bad, last, lines.Err())
}

// hopeless says whether the next line would fail in the same way.
func hopeless(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return !ok || f.code == exitAuth || f.code == exitUnreachable
}

func added(done, bad int, last, reading error) error {
	switch {
	case reading != nil:
		return failed(exitFailed, "standard input could not be read to its end, or a line is too long: %d keys are there", done)
	case done+bad == 0:
		return usage("standard input holds no key")
	case bad == 0:
		return nil
	case done == 0 && bad == 1:
		return last
	case done == 0:
		return failed(ExitCode(last), "no key was added: %d lines failed", bad)
	default:
		return failed(exitPartly, "%d keys are there, %d lines failed", done, bad)
	}
}
