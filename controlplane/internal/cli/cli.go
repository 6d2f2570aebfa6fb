// Package cli is the operator's commands, over the REST API of a running control plane.
//
// Data goes to standard output, everything else to standard error. Secrets come from standard input, the environment or a
// file, never from arguments or flags, which other users of the machine can see. Exit codes: see ExitCode.
package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands answers the commands, to be added to the root. They print no usage after a failed call.
func Commands() []*cobra.Command {
	commands := []*cobra.Command{cacheCommand(), healthCommand(), keysCommand(), nodesCommand(), statsCommand(), tokensCommand()}
	for _, c := range commands {
		c.SetFlagErrorFunc(wrongFlag)
		silence(c)
	}
	return commands
}

// wrongFlag tells which flag is wrong, without its value.
func wrongFlag(c *cobra.Command, err error) error {
	what := "unknown flag"
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		what = "--" + invalid.GetFlag().Name + " has a value that it cannot have"
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		what = "--" + missing.GetFlag().Name + " needs a value"
	}
	return usage("%s: see %s --help", what, c.CommandPath())
}

func silence(c *cobra.Command) {
	c.SilenceUsage = true
	for _, below := range c.Commands() {
		silence(below)
	}
}

// group makes a command that only has others below it. What was typed instead of one of them is not repeated: it may be a
// secret.
func group(use, short string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return usage("unknown command: see %s --help", c.CommandPath())
		},
	}
}

// arguments refuses other numbers of arguments, without repeating them.
func arguments(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < low || high >= 0 && len(args) > high {
			return usage("give %s", what)
		}
		return nil
	}
}
