// Command dataplane serves LLM clients with leased keys. Settings come from flags, then from the environment
// (--node-id ↔ APIPOOL_NODE_ID), then from defaults; secrets only from the environment or files.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"ollama-api-pool/dataplane/server"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "dataplane:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	log.SetOutput(io.Discard) // net/http says there what an upstream sends out of turn, which may be the key it was sent
	cfg := server.Config{Version: buildVersion()}
	var logLevel string
	root := &cobra.Command{
		Use:     "dataplane",
		Short:   "Serves LLM clients with keys leased from the control plane",
		Version: cfg.Version,
		Args:    cobra.NoArgs,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			return fromEnvironment(c.Flags())
		},
		RunE: func(c *cobra.Command, _ []string) (err error) {
			cfg.JoinToken = os.Getenv("APIPOOL_JOIN_TOKEN")
			if cfg.Logger, err = logger(os.Stderr, logLevel); err != nil {
				return err
			}
			easeCollector()
			s, err := server.New(cfg)
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
		SilenceUsage: true, SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVar(&cfg.ControlPlane, "control-plane", "127.0.0.1:7600", "where to lease from, host:port")
	f.StringVar(&cfg.Listen, "listen", "127.0.0.1:8080", "where LLM clients connect")
	f.StringVar(&cfg.OpsListen, "ops-listen", "127.0.0.1:8081", "where /metrics, /healthz, /readyz and /debug are")
	f.StringVar(&cfg.Region, "region", "local", "region asked for when joining; the certificate decides")
	f.StringVar(&cfg.Zone, "zone", "", "zone within the region, for display")
	f.StringVar(&cfg.NodeID, "node-id", "", "name asked for when joining (default the host's name); the certificate decides")
	f.StringVar(&cfg.JoinTokenFile, "join-token-file", "", "file with the join token, for the first contact only; or APIPOOL_JOIN_TOKEN")
	f.StringVar(&cfg.DataDir, "data-dir", "data/dataplane", "folder for the node's key and certificate")
	f.BoolVar(&cfg.Journal, "journal", false, "keep what is counted in the data directory until the control plane has it: kill -9 loses none of it")
	f.DurationVar(&cfg.DrainTimeout, "drain-timeout", 30*time.Second, "time for running requests when stopping")
	f.Int64Var(&cfg.MaxBody, "max-body", 32<<20, "largest request body in bytes")
	f.StringSliceVar(&cfg.CORSOrigins, "cors-origins", []string{"*"}, "origins that browsers may call from")
	f.BoolVar(&cfg.ExposeRouteHeaders, "expose-route-headers", false, "tell clients attempts, key id and region of their requests")
	f.StringSliceVar(&cfg.TrustedProxies, "trusted-proxies", nil, "networks whose X-Forwarded-For is believed")
	f.StringVar(&cfg.TLSCertFile, "tls-cert-file", "", "certificate for --listen, PEM")
	f.StringVar(&cfg.TLSKeyFile, "tls-key-file", "", "key for --listen, PEM")
	f.StringVar(&logLevel, "log-level", "info", "debug, info, warn or error")
	root.AddCommand(&cobra.Command{
		Use:   "health",
		Short: "Asks the running data plane whether it is alive; exit code 0 or 1",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return health(c.Context(), cfg.OpsListen) },
	})
	return root
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

func health(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/healthz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the data plane answers %s", resp.Status)
	}
	return nil
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
