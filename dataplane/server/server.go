// Package server puts a data plane together and runs it: link to the control plane, request path, listeners, drain.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"ollama-api-pool/dataplane/internal/journal"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/origin"
	"ollama-api-pool/dataplane/internal/proxy"
)

// Config is everything a data plane needs to know. Zero values take the documented defaults.
type Config struct {
	ControlPlane string // host:port; default 127.0.0.1:7600
	Listen       string // of the LLM API; default 127.0.0.1:8080
	OpsListen    string // of metrics and health; default 127.0.0.1:8081
	Region       string // asked for when joining; default local
	Zone         string
	NodeID       string // asked for when joining; default the host's name
	DataDir      string // node key and certificate; default data/dataplane
	// JoinToken is for the first contact only; JoinTokenFile is read each time one is needed, so it may appear late.
	JoinToken     string
	JoinTokenFile string

	// Journal keeps what is counted in DataDir/journal until the control plane has it, so that kill -9 loses none of it.
	Journal bool

	DrainTimeout       time.Duration // for running requests when stopping; default 30 s
	MaxBody            int64         // bytes of a request's body; default 32 MiB
	CORSOrigins        []string      // default *
	ExposeRouteHeaders bool          // x-pool-attempts, x-pool-key, x-pool-region on answers
	TrustedProxies     []string      // networks or addresses whose X-Forwarded-For is believed; default none
	TLSCertFile        string        // both or none
	TLSKeyFile         string
	Version            string
	Logger             *slog.Logger // default: discards

	// Now is the clock leases are counted by; default CLOCK_BOOTTIME where there is one.
	Now func() time.Duration
	// Wall is the calendar clock, for certificates and ends of life; default time.Now.
	Wall func() time.Time
	// What tests put in the network's place.
	Listener         net.Listener
	OpsListener      net.Listener
	DialControlPlane func(ctx context.Context, address string) (net.Conn, error)
	DialUpstream     func(ctx context.Context, network, address string) (net.Conn, error)
	// WithoutRest breaks what keeps limits exact: used permits are given back before they have rested. Tests of limits must fail then.
	WithoutRest bool
}

func (c Config) withDefaults() (Config, error) {
	c.ControlPlane = or(c.ControlPlane, "127.0.0.1:7600")
	c.Listen = or(c.Listen, "127.0.0.1:8080")
	c.OpsListen = or(c.OpsListen, "127.0.0.1:8081")
	c.Region = or(c.Region, "local")
	c.DataDir = or(c.DataDir, "data/dataplane")
	c.DrainTimeout = or(c.DrainTimeout, 30*time.Second)
	c.Version = or(c.Version, "dev")
	if c.NodeID == "" {
		host, err := os.Hostname()
		if err != nil {
			return c, fmt.Errorf("no --node-id given and no host name to take: %w", err)
		}
		c.NodeID = strings.ToLower(host)
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		return c, errors.New("--tls-cert-file and --tls-key-file belong together: give both or none")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = bootTime
	}
	return c, nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Server is a data plane. Make it with New, run it once with Run.
type Server struct {
	cfg      Config
	book     *leases.Book
	journal  *journal.Writer // nil: there is none
	link     *leases.Link
	proxy    *proxy.Proxy
	registry *prometheus.Registry
	public   net.Listener
	ops      net.Listener
	door     *door // of public
	opsDoor  *door
	failures *origin.Failures // of logins
	draining atomic.Bool
}

// New takes the listeners and reads the TLS files, so that a wrong setting shows before anything runs.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	trusted, err := origin.ParseTrusted(c.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	s := &Server{cfg: c, registry: prometheus.NewRegistry(), public: c.Listener, ops: c.OpsListener}
	places := connections(descriptors(), debug.SetMemoryLimit(-1)) // only reads it
	s.failures = origin.NewFailures(time.Now, heldFailures(places))
	books := leases.Config{Now: c.Now, Wall: c.Wall, Logger: c.Logger, WithoutRest: c.WithoutRest}
	if c.Journal {
		if books.Journal, books.Past, err = journal.Open(filepath.Join(c.DataDir, "journal"), c.Logger); err != nil {
			return nil, err
		}
		s.journal = books.Journal
	}
	s.book = leases.NewBook(books)
	s.proxy = proxy.New(proxy.Config{
		Book: s.book, Version: c.Version, Region: c.Region, MaxBody: c.MaxBody, CORSOrigins: c.CORSOrigins,
		ExposeRouteHeaders: c.ExposeRouteHeaders, TrustedProxies: trusted, Failures: s.failures,
		DialUpstream: c.DialUpstream, Registerer: s.registry, Logger: c.Logger,
		Draining: func() bool { return s.link.Drained() },
	})
	s.link = leases.NewLink(leases.LinkConfig{
		Book: s.book, Address: c.ControlPlane, DataDir: c.DataDir, NodeID: c.NodeID, Region: c.Region, Zone: c.Zone,
		Version: c.Version, JoinToken: c.joinToken, ClearCaches: s.proxy.Forget, Caches: s.proxy.Caches,
		Dial: c.DialControlPlane, Logger: c.Logger,
	})
	s.registerMetrics()
	if err := s.listen(places, trusted); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) listen(places int, trusted origin.Trusted) (err error) {
	if s.public == nil {
		if s.public, err = net.Listen("tcp", s.cfg.Listen); err != nil {
			return err
		}
	}
	if s.ops == nil {
		if s.ops, err = net.Listen("tcp", s.cfg.OpsListen); err != nil {
			return errors.Join(err, s.public.Close())
		}
	}
	s.door, s.opsDoor = newDoor(s.public, places, trusted), newDoor(s.ops, opsConnections, nil)
	s.public, s.ops = s.door, s.opsDoor
	if s.cfg.TLSCertFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.cfg.TLSCertFile, s.cfg.TLSKeyFile)
	if err != nil {
		return errors.Join(err, s.public.Close(), s.ops.Close())
	}
	s.public = tls.NewListener(s.public, &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
	})
	return nil
}

// Addr is where the LLM API listens, OpsAddr where health and metrics do.
func (s *Server) Addr() net.Addr { return s.public.Addr() }

// OpsAddr is where health and metrics listen.
func (s *Server) OpsAddr() net.Addr { return s.ops.Addr() }

// Run serves until ctx ends, then drains: no new requests, running ones finish, counts are confirmed, the lease is given
// back. It answers nil after a clean stop.
func (s *Server) Run(ctx context.Context) error {
	public, ops := s.publicServer(), s.opsServer()
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by the drain
	defer end()
	g, life := errgroup.WithContext(life)
	g.Go(func() error { return serve(public, s.public) })
	g.Go(func() error { return serve(ops, s.ops) })
	g.Go(func() error { return s.link.Run(life) })
	g.Go(func() error { s.proxy.RunProbes(life); return nil })
	s.cfg.Logger.Info("data plane started", "listen", s.Addr().String(), "ops_listen", s.OpsAddr().String(),
		"control_plane", s.cfg.ControlPlane, "node", s.cfg.NodeID, "region", s.cfg.Region, "version", s.cfg.Version)
	g.Go(func() error {
		select {
		case <-ctx.Done():
			s.drain(life, public)
		case <-life.Done(): // something failed
		}
		end()
		return errors.Join(public.Close(), ops.Close())
	})
	err := g.Wait()
	s.cfg.Logger.Info("data plane stopped")
	return err
}

func (s *Server) drain(ctx context.Context, public *http.Server) {
	s.draining.Store(true)
	s.cfg.Logger.Info("draining", "in_flight", s.book.InFlight(), "timeout", s.cfg.DrainTimeout.String())
	wait, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	s.failures.Stop()
	if err := public.Shutdown(wait); err != nil {
		s.cfg.Logger.Warn("requests cut: the drain timeout is over", "in_flight", s.book.InFlight())
		_ = public.Close()
	}
	leave, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := s.link.Leave(leave)
	if s.journal != nil {
		s.journal.Close(err == nil) // what is not confirmed is the next process's to report
	}
	if err != nil {
		s.cfg.Logger.Warn("counts not confirmed: the control plane is out of reach", "batches", s.link.Reporter().Unconfirmed())
	}
}

func (s *Server) publicServer() *http.Server {
	return &http.Server{
		Handler:           &gate{next: s.proxy, most: int64(s.door.places)},
		ConnState:         s.door.note,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			SendPingTimeout:      time.Minute, // a peer that has vanished is noticed though its streams are silent
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     time.Minute,
		},
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		// No WriteTimeout: it would cut streams.
	}
}

func serve(h *http.Server, l net.Listener) error {
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// joinToken answers the token for the first contact, or says how to give one.
func (c Config) joinToken() (leases.Secret, error) {
	text := c.JoinToken
	if text == "" && c.JoinTokenFile != "" {
		b, err := os.ReadFile(c.JoinTokenFile)
		if err != nil {
			return leases.Secret{}, fmt.Errorf("join token: %w", err)
		}
		text = string(b)
	}
	if text = strings.TrimSpace(text); text == "" {
		return leases.Secret{}, errors.New("no join token: make one with `controlplane nodes join-token` and give it " +
			"by APIPOOL_JOIN_TOKEN, APIPOOL_JOIN_TOKEN_FILE or --join-token-file")
	}
	return leases.NewSecret(text), nil
}
