package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"ollama-api-pool/test/fakellm"
)

type options struct {
	listen, controlListen string
	keysFile, ledgerFile  string
	cfg                   fakellm.Config
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var models string
	fs := flag.NewFlagSet("fakellm", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback `address` of the pretend provider; port 0 picks a free one")
	fs.StringVar(&o.controlListen, "control-listen", "127.0.0.1:0", "loopback `address` of the control API")
	fs.StringVar(&o.cfg.Dialect, "dialect", fakellm.Ollama, "ollama, openrouter or openai")
	fs.StringVar(&models, "models", fakellm.DefaultModel, "comma-separated `names` of the models served")
	fs.StringVar(&o.keysFile, "keys-file", "", "JSON `file`: an object, key to behaviour")
	fs.BoolVar(&o.cfg.AcceptAnyKey, "accept-any-key", false, "serve keys that were never set")
	fs.BoolVar(&o.cfg.KeepHeaders, "keep-headers", false, "keep each request's headers and query in the ledger")
	fs.BoolVar(&o.cfg.KeepBodies, "keep-bodies", false, "keep each request's body and answer in the ledger")
	fs.StringVar(&o.ledgerFile, "ledger", "", "append finished entries to this `file`, one line of JSON each")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	for name := range strings.SplitSeq(models, ",") {
		o.cfg.Models = append(o.cfg.Models, strings.TrimSpace(name))
	}
	return o, o.cfg.Validate()
}

// run serves until ctx is done. It closes all it opened.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.ledgerFile != "" {
		// It holds keys in clear, pretend ones though they are.
		f, err := os.OpenFile(o.ledgerFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("open the ledger: %w", err)
		}
		defer f.Close()
		o.cfg.Ledger = f
	}
	up := fakellm.New(o.cfg)
	if err := loadKeys(up, o.keysFile); err != nil {
		return err
	}

	ln, err := listenLoopback(ctx, o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer ln.Close()
	control, err := listenLoopback(ctx, o.controlListen)
	if err != nil {
		return fmt.Errorf("--control-listen: %w", err)
	}
	defer control.Close()
	err = json.NewEncoder(stdout).Encode(map[string]string{
		"listen": ln.Addr().String(), "control_listen": control.Addr().String(),
	})
	if err != nil {
		return fmt.Errorf("announce the addresses: %w", err)
	}
	err = serve(ctx, server{ln, up}, server{control, up.Control()})
	return errors.Join(err, up.LedgerErr())
}

func loadKeys(up *fakellm.Upstream, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open the keys: %w", err)
	}
	defer f.Close()
	keys, err := fakellm.ReadKeys(f)
	if err != nil {
		return err
	}
	return up.SetKeys(keys)
}
