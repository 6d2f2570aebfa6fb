package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// metrics are what the proxy counts. Labels are closed sets: providers that the Book knows, and outcomes.
type metrics struct {
	requests   *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	firstToken *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	panics     prometheus.Counter
}

var secondBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apipool_requests_total", Help: "Requests of clients, by what the client saw.",
		}, []string{"provider", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apipool_upstream_attempts_total", Help: "Tries with one key each, by what they came to.",
		}, []string{"provider", "outcome"}),
		duration:   newHistogram("apipool_request_duration_seconds", "Time from a request's arrival to the end of its answer."),
		firstToken: newHistogram("apipool_time_to_first_token_seconds", "Time from a request's arrival to the first event of its stream."),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apipool_in_flight", Help: "Requests being served.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apipool_panics_total", Help: "Panics caught while serving a request.",
		}),
	}
	r.MustRegister(m.requests, m.attempts, m.duration, m.firstToken, m.inFlight, m.panics)
	return m
}

func newHistogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: secondBuckets, NativeHistogramBucketFactor: 1.1,
	}, []string{"provider"})
}

func (m *metrics) request(x *exchange, took time.Duration) {
	name := x.providerID()
	if name == "" {
		name = "none"
	}
	m.requests.WithLabelValues(name, x.outcome()).Inc()
	m.duration.WithLabelValues(name).Observe(took.Seconds())
	if x.firstEvent > 0 {
		m.firstToken.WithLabelValues(name).Observe(x.firstEvent.Seconds())
	}
}

func (m *metrics) attempt(providerID string, c provider.Class) {
	m.attempts.WithLabelValues(providerID, c.String()).Inc()
}

var endNames = [...]string{
	leases.EndOK: "ok", leases.EndClientError: "client_error", leases.EndLimited: "limited",
	leases.EndUnavailable: "unavailable", leases.EndUpstreamError: "upstream_error", leases.EndTruncated: "truncated",
	leases.EndCanceled: "canceled",
}

// outcome is what metrics and logs call the end of an exchange.
func (x *exchange) outcome() string {
	switch {
	case x.panicked:
		return "panic"
	case x.stranger:
		return "unauthorized"
	case int(x.end) < len(endNames):
		return endNames[x.end]
	default:
		return "unknown"
	}
}
