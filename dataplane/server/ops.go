package server

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ollama-api-pool/dataplane/internal/leases"
)

// opsServer serves health and metrics to whoever runs the node; none of it holds a secret.
func (s *Server) opsServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok", "version": s.cfg.Version})
	})
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("GET /debug/pprof/", loopbackOnly(pprof.Index))
	mux.HandleFunc("GET /debug/pprof/profile", loopbackOnly(pprof.Profile))
	mux.HandleFunc("GET /debug/pprof/trace", loopbackOnly(pprof.Trace))
	return &http.Server{
		Handler:           unread(mux),
		ConnState:         s.opsDoor.note,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      2 * time.Minute, // longer than a profile is asked for
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// unread bounds how long net/http waits for the body of a request whose handler reads none.
func unread(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusalTime))
		}
		next.ServeHTTP(w, r)
	})
}

// readyz is true while requests can be served: also when the control plane is away, as long as lease or grace last.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	switch err := s.book.Ready(); {
	case s.draining.Load(), s.link.Drained():
		answer(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
	case err != nil:
		answer(w, http.StatusServiceUnavailable, map[string]string{
			"status": "not ready", "reason": err.Error(), "link": s.link.State(),
		})
	default:
		answer(w, http.StatusOK, map[string]string{"status": "ready", "link": s.link.State()})
	}
}

func answer(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// loopbackOnly keeps profiles from anybody who is not on this machine.
func loopbackOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if addr, err := netip.ParseAddr(host); err != nil || !addr.IsLoopback() {
			answer(w, http.StatusForbidden, map[string]string{"status": "only from this machine"})
			return
		}
		next(w, r)
	}
}

func (s *Server) registerMetrics() {
	for _, i := range leases.Invariants() {
		s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "apipool_session_violations_total", Help: "Messages of the control plane that broke an invariant of the session; none was applied.",
			ConstLabels: prometheus.Labels{"invariant": i.String()},
		}, func() float64 { return float64(s.link.Violations(i)) }))
	}
	s.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_leases", Help: "Upstream keys that this node holds.",
		}, func() float64 { return float64(s.book.Held()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_ready", Help: "Whether requests can be served: 1 or 0.",
		}, func() float64 {
			if s.book.Ready() != nil {
				return 0
			}
			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_client_connections", Help: "Connections of clients.",
		}, func() float64 { return float64(s.door.Open()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_client_connections_max", Help: "Connections of clients that there may be; further ones wait.",
		}, func() float64 { return float64(s.door.places) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "apipool_client_connections_refused_total", Help: "Connections closed because their address had half of all.",
		}, func() float64 { return float64(s.door.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "apipool_client_connections_evicted_total", Help: "Idle connections closed because others waited for a place.",
		}, func() float64 { return float64(s.door.evicted.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_failed_logins_held", Help: "Failed logins that wait for their answer.",
		}, func() float64 { return float64(s.failures.Held()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_unacknowledged_batches", Help: "Outcome batches that the control plane has not confirmed.",
		}, func() float64 { return float64(s.link.Reporter().Unconfirmed()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "apipool_build_info", Help: "1, labelled with the version and the region.",
			ConstLabels: prometheus.Labels{"version": s.cfg.Version, "region": s.cfg.Region},
		}, func() float64 { return 1 }),
	)
}
