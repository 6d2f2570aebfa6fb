// Command controlplane owns keys, tokens, limits and figures, and leases keys to data planes. Settings come from flags,
// then from the environment (--data-dir ↔ APIPOOL_DATA_DIR), then from defaults; secrets only from the environment or files.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"ollama-api-pool/controlplane/internal/cli"
	"ollama-api-pool/controlplane/server"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Execute(ctx, command()))
}

func command() *cobra.Command {
	root := serveCommand("controlplane", "Owns the keys and leases them to data planes")
	root.Long = root.Short + ".\n\nWithout a command it serves, as `controlplane serve` does."
	root.AddCommand(serveCommand("serve", "Serves data planes and operators (the default)"), initCommand())
	root.AddCommand(cli.Commands()...)
	root.SilenceUsage, root.SilenceErrors, root.Version = true, true, buildVersion()
	return root
}

func serveCommand(use, short string) *cobra.Command {
	var o options
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := o.config(c.Flags())
			if err != nil {
				return err
			}
			s, err := server.New(c.Context(), cfg)
			if err != nil {
				return err
			}
			if cfg.Dev {
				fmt.Fprintf(os.Stderr, devNotice, cfg.DataDir, s.AdminAddr(), cfg.DataDir)
			}
			return s.Run(c.Context())
		},
	}
	o.add(c.Flags())
	return c
}

const devNotice = `
  --dev: NOT SAFE FOR PRODUCTION. Loopback only; credentials lie in %s.
  Admin API:   http://%s   (Authorization: Bearer <the contents of admin-token>)
  Data plane:  APIPOOL_JOIN_TOKEN_FILE=%s/join-token go run ./dataplane

`

func initCommand() *cobra.Command {
	var o options
	var unattended bool
	c := &cobra.Command{
		Use: "init", Short: "Makes a data directory; refuses one that was in use before", Args: cobra.NoArgs,
		Long: "Makes a data directory; refuses one that was in use before.\n\n" +
			"With --write-join-token it prepares a fleet that starts unattended: a data directory in use is kept, and a join\n" +
			"token is written to --join-token-file unless one is there. So it can run before every start.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := o.config(c.Flags())
			if err != nil {
				return err
			}
			if unattended {
				return server.Prepare(cfg)
			}
			return server.Init(cfg)
		},
	}
	o.addStorage(c.Flags())
	c.Flags().BoolVar(&unattended, "write-join-token", false, "keep what is there, and see to it that there is a join token")
	c.Flags().StringVar(&o.cfg.JoinTokenFile, "join-token-file", "", "where --write-join-token writes, and serve and data planes read")
	return c
}

// options are the flags.
type options struct {
	cfg      server.Config
	proxies  []string
	logLevel string
}

func (o *options) addStorage(f *pflag.FlagSet) {
	f.StringVar(&o.cfg.DataDir, "data-dir", "data/controlplane", "folder of the database, keyset and CA")
	f.StringVar(&o.cfg.KEKFile, "kek-file", "", "file with the key that wraps the keyset (default DATA_DIR/kek, made by init)")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
}

func (o *options) add(f *pflag.FlagSet) {
	o.addStorage(f)
	c := &o.cfg
	f.StringVar(&c.NodeListen, "node-listen", "127.0.0.1:7600", "where data planes connect, gRPC over mutual TLS")
	f.StringVar(&c.AdminListen, "admin-listen", "127.0.0.1:7601", "where REST, /health, /healthz, /readyz and /metrics are")
	f.StringVar(&c.AdminTokenFile, "admin-token-file", "", "file with the first admin's token; or APIPOOL_ADMIN_TOKEN; else generated at the first start")
	f.StringVar(&c.JoinTokenFile, "join-token-file", "", "file with a reusable join token; or APIPOOL_JOIN_TOKEN; else only one-time tokens")
	f.BoolVar(&c.PublicStats, "public-stats", false, "serve /admin/public-stats without login")
	f.BoolVar(&c.Dev, "dev", false, "make every credential needed, on loopback only; NOT SAFE FOR PRODUCTION")
	f.StringVar(&c.AdminTLSCertFile, "admin-tls-cert-file", "", "certificate for --admin-listen, PEM")
	f.StringVar(&c.AdminTLSKeyFile, "admin-tls-key-file", "", "key for --admin-listen, PEM")
	f.BoolVar(&c.AdminInsecure, "admin-insecure", false, "allow plaintext REST beyond loopback")
	f.StringSliceVar(&c.AdminHosts, "admin-hosts", nil, "names under which REST is reached, beside loopback")
	f.StringSliceVar(&o.proxies, "trusted-proxies", nil, "networks whose X-Forwarded-For is believed")
	f.DurationVar(&c.LeaseTTL, "lease-ttl", time.Minute, "life of a node's lease, renewed by its heartbeats")
	f.DurationVar(&c.Grace, "grace", 4*time.Hour, "how long a node may serve after its lease without this control plane, 0 to 24h")
}

func (o *options) config(f *pflag.FlagSet) (server.Config, error) {
	if err := fromEnvironment(f); err != nil {
		return o.cfg, err
	}
	c := o.cfg
	c.Version = buildVersion()
	c.AdminToken, c.JoinToken = os.Getenv("APIPOOL_ADMIN_TOKEN"), os.Getenv("APIPOOL_JOIN_TOKEN")
	if f.Changed("grace") && c.Grace == 0 {
		c.Grace = -1 // none; zero means the default
	}
	for _, text := range o.proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return c, errors.New("--trusted-proxies takes networks such as 10.0.0.0/8")
		}
		c.TrustedProxies = append(c.TrustedProxies, p)
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		c.Show = func(text string) { fmt.Fprintf(os.Stderr, "\n  %s\n\n", text) }
	}
	var err error
	c.Logger, err = logger(os.Stderr, o.logLevel)
	return c, err
}

// fromEnvironment fills flags that were not given from their APIPOOL_… twins.
func fromEnvironment(flags *pflag.FlagSet) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "APIPOOL_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if text, ok := os.LookupEnv(name); ok && !f.Changed {
			if e := flags.Set(f.Name, text); e != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
			}
		}
	})
	return err
}

// logger writes text to a person and JSON to a machine.
func logger(w *os.File, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, errors.New("--log-level is debug, info, warn or error")
	}
	options := &slog.HandlerOptions{Level: l}
	if term.IsTerminal(int(w.Fd())) {
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return slog.New(slog.NewJSONHandler(w, options)), nil
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "dev" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				return "dev-" + s.Value[:12]
			}
		}
	}
	return version
}
