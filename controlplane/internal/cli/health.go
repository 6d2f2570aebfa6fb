package cli

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const healthTimeout = 5 * time.Second

func healthCommand() *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use:   "health",
		Short: "Say whether the control plane serves (exit 0 or 1; for container health checks)",
		Args:  arguments(0, 0, "no arguments"),
		RunE:  func(c *cobra.Command, _ []string) error { return health(c, o) },
	}
	c.Flags().StringVar(&o.addr, "addr", "", "address of the control plane (APIPOOL_ADDR; default: where it listens on this machine)")
	return c
}

// health sends no credential and believes nothing but the status, so on this machine it minds no certificate: that is
// rarely one for 127.0.0.1.
func health(c *cobra.Command, o *options) error {
	base, err := o.base()
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if isLoopback(base.Hostname()) {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // see the comment above
	}
	r, err := http.NewRequestWithContext(c.Context(), http.MethodGet, base.JoinPath("healthz").String(), nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: healthTimeout, Transport: transport}).Do(r)
	if err != nil {
		return failed(exitFailed, "not healthy: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // only the status counts
	if resp.StatusCode != http.StatusOK {
		return failed(exitFailed, "not healthy: %s", resp.Status)
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), "ok")
	return err
}
