package server

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ollama-api-pool/controlplane/internal/pool"
)

// fleet shows the pool to Prometheus. No key is ever a label: per-key figures belong to the API.
type fleet struct {
	server *Server
}

var (
	keysDesc = prometheus.NewDesc("apipool_keys", "Upstream keys by provider and status.", []string{"provider", "status"}, nil)
	nodeDesc = prometheus.NewDesc("apipool_nodes", "Data planes by state.", []string{"state"}, nil)
	lagDesc  = prometheus.NewDesc("apipool_node_revision_lag", "Changes that a connected node has not confirmed.", []string{"node"}, nil)
	seenDesc = prometheus.NewDesc("apipool_node_last_sync_timestamp_seconds", "When the node was last heard of.", []string{"node"}, nil)
	blamed   = prometheus.NewDesc("apipool_provider_failing", "Whether the provider itself is held to be failing: 1 or 0.", []string{"provider"}, nil)
	requests = prometheus.NewDesc("apipool_reported_requests_total", "Client requests that nodes have reported.", []string{"provider", "result"}, nil)
	attempts = prometheus.NewDesc("apipool_reported_attempts_total", "Upstream attempts that nodes have reported.", []string{"provider", "result"}, nil)
	tokens   = prometheus.NewDesc("apipool_reported_tokens_total", "Tokens of the answers that clients saw, as nodes have reported.", []string{"provider", "direction"}, nil)
	broken   = prometheus.NewDesc("apipool_invariant_violations_total", "Invariants of the pool that were found broken; there is no way for it to be more than 0.", nil, nil)
	build    = prometheus.NewDesc("apipool_build_info", "1, labelled with the version.", []string{"version"}, nil)
)

// metrics serves /metrics.
func (s *Server) metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &fleet{server: s},
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Describe implements prometheus.Collector.
func (f *fleet) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keysDesc, nodeDesc, lagDesc, seenDesc, blamed, requests, attempts, tokens, broken, build} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f *fleet) Collect(ch chan<- prometheus.Metric) {
	s, now := f.server, f.server.cfg.Now()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(broken, s.pool.Violations())
	for id, c := range s.pool.KeyCounts(now) {
		for _, status := range pool.Statuses() {
			gauge(keysDesc, float64(c.ByStatus[status]), string(id), string(status))
		}
		failing := 0.0
		if s.pool.Blamed(id) {
			failing = 1
		}
		gauge(blamed, failing, string(id))
	}
	states := map[string]int{
		pool.NodeLive: 0, pool.NodeDraining: 0, pool.NodeAway: 0, pool.NodeGone: 0, pool.NodeEvicted: 0, pool.NodeNever: 0,
	}
	for _, n := range s.pool.Nodes(now) {
		states[n.State]++
		if n.Connected() {
			gauge(lagDesc, float64(n.Lag), string(n.Record.ID))
			gauge(seenDesc, float64(n.LastSeen.UnixMilli())/1000, string(n.Record.ID))
		}
	}
	for state, n := range states {
		gauge(nodeDesc, float64(n), state)
	}
	for _, p := range s.stats.Providers() {
		id := string(p.Provider)
		counter(requests, p.Requests.Success(), id, "success")
		counter(requests, p.Requests.Failure(), id, "failure")
		counter(requests, p.Requests.Total()-p.Requests.Success()-p.Requests.Failure(), id, "client")
		counter(attempts, p.Attempts.Success(), id, "success")
		counter(attempts, p.Attempts.Failure(), id, "failure")
		counter(attempts, p.Attempts.Total()-p.Attempts.Success()-p.Attempts.Failure(), id, "client")
		used := p.Requests.Usage()
		counter(tokens, used.Input, id, "input")
		counter(tokens, used.Output, id, "output")
	}
	gauge(build, 1, s.cfg.Version)
}
