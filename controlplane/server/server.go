// Package server puts a control plane together and runs it: store, pool, APIs, listeners, drain, from top to bottom.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/leaseapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/rest"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
)

const (
	tickEvery    = 200 * time.Millisecond
	drainTimeout = 5 * time.Second
)

// Server is a control plane. Make it with New, run it once with Run.
type Server struct {
	cfg    Config
	db     *databases
	pool   *pool.Pool
	stats  *stats.Collector
	lease  *leaseapi.API
	prober *probe.Prober
	rest   *rest.Server
	grpc   *grpc.Server
	nodes  net.Listener
	admin  net.Listener
}

// New opens the data directory, initialising an empty one, and takes the listeners: a wrong setting shows before anything
// runs. Nothing on disk is changed when it fails on a directory that was in use before.
func New(ctx context.Context, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: c, nodes: c.NodeListener, admin: c.AdminListener}
	if err := s.open(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) (err error) {
	if s.db, err = openDatabases(s.cfg); err != nil {
		return err
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	if err := s.serveNodes(ctx); err != nil {
		return err
	}
	return s.serveAdmin(ctx)
}

// load fills the pool from what is on disk and ties the store's commits and the statistics to it.
func (s *Server) load() (err error) {
	c := s.cfg
	s.pool = pool.New(pool.Config{
		LeaseTTL: c.LeaseTTL, Grace: c.Grace, Start: c.Now(), Term: s.db.config.Term(), Distrusted: s.distrusted,
		Broken: func(what string) { c.Logger.Error("an invariant of the pool does not hold", "what", what) },
	})
	s.stats, err = stats.New(s.db.stats, c.Now,
		stats.Log(c.Logger),
		stats.SaveHealth(s.pool.Unsaved, s.pool.Saved), stats.SaveBudgets(s.pool),
		stats.SaveEvents(s.pool.TakeEvents),
		stats.Known(s.pool.Exists, s.pool.ExistsToken),
		stats.OnMerged(func(now time.Time, b stats.Batch) { s.pool.Observe(now, leaseapi.Observations(b)) }))
	if err != nil {
		return err
	}
	changes, err := s.db.everything()
	if err != nil {
		return err
	}
	s.pool.Load(c.Now(), changes, s.stats.Health())
	s.pool.LoadBudgets(c.Now(), s.stats.Given())
	s.db.config.OnCommit(func(changes []pool.Change) {
		s.pool.Apply(c.Now(), changes)
		s.forgetRemoved(changes)
	})
	return nil
}

func (s *Server) forgetRemoved(changes []pool.Change) {
	var keys []pool.KeyID
	var tokens []pool.TokenID
	for _, c := range changes {
		if c.RemovedKey != 0 {
			keys = append(keys, c.RemovedKey)
		}
		if c.RemovedToken != 0 {
			tokens = append(tokens, c.RemovedToken)
		}
	}
	if len(keys)+len(tokens) > 0 {
		s.stats.Forget(keys, tokens)
	}
}

func (s *Server) listen() (err error) {
	if s.nodes == nil {
		if s.nodes, err = net.Listen("tcp", s.cfg.NodeListen); err != nil {
			return err
		}
	}
	if s.admin == nil {
		if s.admin, err = net.Listen("tcp", s.cfg.AdminListen); err != nil {
			return err
		}
	}
	if s.cfg.AdminTLSCertFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(s.cfg.AdminTLSCertFile, s.cfg.AdminTLSKeyFile)
	if err != nil {
		return err
	}
	s.admin = tls.NewListener(s.admin, &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
	})
	return nil
}

func (s *Server) serveNodes(ctx context.Context) error {
	authority, err := s.db.authority(ctx, s.cfg.Now())
	if err != nil {
		return err
	}
	joinToken, err := s.joinToken()
	if err != nil {
		return err
	}
	c := s.cfg
	s.lease = leaseapi.New(leaseapi.Config{
		Pool: s.pool, Store: s.db.config, Stats: s.stats, CA: authority, Logger: c.Logger, Now: c.Now,
		ReusableJoinToken: joinToken, LeaseTTL: c.LeaseTTL, Grace: c.Grace,
		HeartbeatInterval: c.HeartbeatInterval, ReportInterval: c.ReportInterval, ReconnectSpread: c.ReconnectSpread,
	})
	s.grpc, err = s.lease.Server()
	return err
}

func (s *Server) serveAdmin(ctx context.Context) (err error) {
	c := s.cfg
	s.prober = probe.New(probe.Config{Version: c.Version, Dial: c.DialUpstream, Now: c.Now})
	api := adminapi.New(adminapi.Config{
		Store: s.db.config, Pool: s.pool, Prober: s.prober, Stats: s.stats, PublicStats: c.PublicStats || c.Dev,
		Now: c.Now, Log: c.Logger,
	})
	s.rest, err = rest.New(context.WithoutCancel(ctx), rest.Config{
		Register: api.Register, Options: api.Options(), Admit: api.Admit, Open: api.Open(),
		Health: s.health, Ready: s.db.config.Err, Metrics: s.metrics(),
		AllowedHosts: c.AdminHosts, TrustedProxies: c.TrustedProxies, Version: c.Version, Log: c.Logger,
	})
	return err
}

// distrusted logs that what a node reports of keys is not acted on, or is again.
func (s *Server) distrusted(node pool.NodeID, is bool) {
	if is {
		s.cfg.Logger.Warn("node is not believed: other nodes could use keys that it reported as rejected; its way to the upstream may be broken",
			"node", string(node))
		return
	}
	s.cfg.Logger.Info("node is believed again", "node", string(node))
}

// health is what anyone may know.
func (s *Server) health() rest.Health {
	h := rest.Health{Status: "ok", Providers: map[string]rest.ProviderHealth{}}
	configured := s.pool.Configured()
	for _, p := range s.pool.Providers() {
		h.Providers[string(p.ID)] = rest.ProviderHealth{Enabled: p.Enabled, Configured: configured[p.ID]}
	}
	if s.db.config.Err() != nil {
		h.Status = "degraded"
	}
	return h
}

// NodeAddr is where data planes connect.
func (s *Server) NodeAddr() net.Addr { return s.nodes.Addr() }

// AdminAddr is where the REST API is.
func (s *Server) AdminAddr() net.Addr { return s.admin.Addr() }

// Run serves until ctx ends, then drains: nodes are told, calls under way finish, counts are committed. It answers an error
// when the disk failed in a commit: what is on it is then unknown, and only a new start may find out.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	web := s.adminServer()
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx by the drain
	defer end()
	g, life := errgroup.WithContext(life)
	g.Go(func() error {
		if err := s.grpc.Serve(s.nodes); !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil // told to stop before it had begun
	})
	g.Go(func() error { return serve(web, s.admin) })
	g.Go(func() error { return s.stats.Run(life) })
	g.Go(func() error { s.tick(life); return nil })
	g.Go(func() error { s.forgetDeleted(life); return nil })
	g.Go(func() error {
		select {
		case <-s.db.config.Failed():
			return s.db.config.Err()
		case <-life.Done():
			return nil
		}
	})
	s.cfg.Logger.Info("control plane started", "node_listen", s.NodeAddr().String(), "admin_listen", s.AdminAddr().String(),
		"data_dir", s.cfg.DataDir, "term", s.db.config.Term(), "version", s.cfg.Version)
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-life.Done(): // something failed
		}
		s.drain(web)
		end()
		return nil
	})
	err := g.Wait()
	s.cfg.Logger.Info("control plane stopped")
	return err
}

// drain tells the nodes first, so that they can go elsewhere, and lets calls under way finish: what they change still reaches
// the nodes. Then the sessions that are left end.
func (s *Server) drain(web *http.Server) {
	s.lease.Drain()
	wait, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if web.Shutdown(wait) != nil {
		_ = web.Close()
	}
	s.rest.Close()
	s.prober.Close()
	s.lease.AwaitMoves(wait)
	s.lease.Stop()
	force := time.AfterFunc(time.Second, s.grpc.Stop) // report streams last as long as their nodes
	s.grpc.GracefulStop()
	force.Stop()
}

func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(tickEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.pool.Tick(s.cfg.Now())
		case <-ctx.Done():
			return
		}
	}
}

// forgetDeleted erases deleted keys whose time to be restored is over: at the start, then every hour.
func (s *Server) forgetDeleted(ctx context.Context) {
	t := time.NewTicker(time.Hour)
	defer t.Stop()
	for {
		_, err := s.db.config.Update(ctx, func(tx *store.Tx) error {
			n, err := tx.ForgetDeleted()
			if n > 0 {
				s.cfg.Logger.Info("deleted keys forgotten", "keys", n)
			}
			return err
		})
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("deleted keys could not be forgotten; trying again in an hour", "error", err.Error())
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) adminServer() *http.Server {
	return &http.Server{
		Handler:           s.rest,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

func serve(h *http.Server, l net.Listener) error {
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// close releases what New took; the databases last.
func (s *Server) close() {
	for _, l := range []net.Listener{s.nodes, s.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	if s.db != nil {
		if err := s.db.close(); err != nil {
			s.cfg.Logger.Error("closing the database", "error", err.Error())
		}
	}
}
