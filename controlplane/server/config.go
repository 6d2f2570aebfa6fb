package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"time"
)

// Config is everything a control plane needs to know. Zero values take the documented defaults.
type Config struct {
	DataDir     string // database, keyset, CA; default data/controlplane
	KEKFile     string // wraps the keyset; default DATA_DIR/kek, made by init
	NodeListen  string // gRPC for data planes; default 127.0.0.1:7600
	AdminListen string // REST, health, metrics; default 127.0.0.1:7601
	// The first admin's credential, root: at least 32 characters. Without one it is generated at the first start.
	AdminToken     string
	AdminTokenFile string
	// A join token that lets any number of nodes in; at least 22 characters. Without one only one-time tokens do.
	JoinToken     string
	JoinTokenFile string
	// PublicStats shows the public statistics without login.
	PublicStats bool
	// Dev makes both tokens and leaves them in DataDir, and shows the public statistics; loopback only, NOT SAFE FOR
	// PRODUCTION.
	Dev bool

	AdminTLSCertFile string // both or none
	AdminTLSKeyFile  string
	AdminInsecure    bool     // allow plaintext REST beyond loopback
	AdminHosts       []string // names under which REST is reached, beside loopback
	TrustedProxies   []netip.Prefix

	LeaseTTL time.Duration // default 60 s
	Grace    time.Duration // default 4 h; negative: none; at most 24 h
	Version  string
	Logger   *slog.Logger // default: discards
	// Show tells a person something that must not get into a log: a generated credential. Nil: there is nobody.
	Show func(text string)

	// What tests put in the network's place, and faster clocks.
	NodeListener      net.Listener
	AdminListener     net.Listener
	HeartbeatInterval time.Duration
	ReportInterval    time.Duration
	ReconnectSpread   time.Duration
	DialUpstream      func(ctx context.Context, network, address string) (net.Conn, error)
	Now               func() time.Time // default time.Now
}

const (
	minAdminToken = 32 // characters
	minJoinToken  = 22 // characters: 128 bits in base64
	maxGrace      = 24 * time.Hour
)

func (c Config) withDefaults() (Config, error) {
	c.DataDir = or(c.DataDir, "data/controlplane")
	c.NodeListen = or(c.NodeListen, "127.0.0.1:7600")
	c.AdminListen = or(c.AdminListen, "127.0.0.1:7601")
	c.KEKFile = or(c.KEKFile, filepath.Join(c.DataDir, "kek"))
	c.Version = or(c.Version, "dev")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, c.check()
}

func (c Config) check() error {
	tls := c.AdminTLSCertFile != ""
	switch {
	case tls != (c.AdminTLSKeyFile != ""):
		return errors.New("--admin-tls-cert-file and --admin-tls-key-file belong together: give both or none")
	case c.Dev && (!loopback(c.NodeListen) || !loopback(c.AdminListen)):
		return errors.New("--dev is for loopback only: listen on 127.0.0.1, or leave --dev out")
	case !tls && !c.AdminInsecure && !loopback(c.AdminListen):
		return fmt.Errorf("refusing to serve the admin API in plaintext on %s: give --admin-tls-cert-file and "+
			"--admin-tls-key-file, listen on loopback, or say --admin-insecure", c.AdminListen)
	case c.Grace > maxGrace:
		return fmt.Errorf("--grace is at most %v: a revocation would take longer to reach a node that is cut off", maxGrace)
	case c.LeaseTTL != 0 && (c.LeaseTTL < time.Second || c.LeaseTTL > time.Hour):
		return errors.New("--lease-ttl is between 1s and 1h")
	}
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
