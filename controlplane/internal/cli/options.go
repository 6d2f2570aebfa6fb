package cli

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

const defaultPort = "7601"

// options are the flags that all commands share.
type options struct {
	addr      string
	tokenFile string
	output    string
}

func addOptions(c *cobra.Command) *options {
	o := &options{}
	flags := c.PersistentFlags()
	flags.StringVar(&o.addr, "addr", "", "address of the control plane (APIPOOL_ADDR; default http://127.0.0.1:7601)")
	flags.StringVar(&o.tokenFile, "token-file", "", "file with the admin token (APIPOOL_ADMIN_TOKEN_FILE; or the token in APIPOOL_ADMIN_TOKEN;\n"+
		"default on the control plane's own machine: APIPOOL_DATA_DIR/admin-token)")
	flags.StringVarP(&o.output, "output", "o", "table", "output: table or json")
	return o
}

func (o *options) json() (bool, error) {
	switch o.output {
	case "table":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usage("--output must be table or json")
	}
}

// base answers the address as scheme and host.
func (o *options) base() (*url.URL, error) {
	text := cmp.Or(o.addr, os.Getenv("APIPOOL_ADDR"), localAddr())
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, usage("the address must be like http://127.0.0.1:7601 (--addr, APIPOOL_ADDR)")
	}
	u.Path = ""
	return u, nil
}

// localAddr is where a control plane with the same environment listens on this machine, as in its container.
func localAddr() string {
	port := defaultPort
	if _, p, err := net.SplitHostPort(os.Getenv("APIPOOL_ADMIN_LISTEN")); err == nil && p != "" {
		port = p
	}
	scheme := "http"
	if os.Getenv("APIPOOL_ADMIN_TLS_CERT_FILE") != "" {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort("127.0.0.1", port)
}

// token answers the admin token: the nearest to the command line wins.
func (o *options) token() (string, error) {
	if o.tokenFile == "" {
		if t := os.Getenv("APIPOOL_ADMIN_TOKEN"); t != "" {
			return t, nil
		}
	}
	path := cmp.Or(o.tokenFile, os.Getenv("APIPOOL_ADMIN_TOKEN_FILE"), o.leftToken())
	if path == "" {
		return "", failed(exitAuth, "no admin token: set APIPOOL_ADMIN_TOKEN or APIPOOL_ADMIN_TOKEN_FILE, or use --token-file")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", failed(exitAuth, "read the admin token: %v", err)
	}
	t := strings.TrimSpace(string(data))
	if t == "" {
		return "", failed(exitAuth, "the file with the admin token is empty: %s", path)
	}
	return t, nil
}

// leftToken answers the file in which a control plane with the same environment leaves the first admin's token, as in its
// container. It is for the one that listens here: a token is not sent to an address that somebody has named for want of
// a better one.
func (o *options) leftToken() string {
	dir := os.Getenv("APIPOOL_DATA_DIR")
	if dir == "" || o.addr != "" || os.Getenv("APIPOOL_ADDR") != "" {
		return ""
	}
	path := filepath.Join(dir, "admin-token")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
