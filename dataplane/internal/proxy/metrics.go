package proxy

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// metrics are what the proxy counts. Labels are closed sets: providers that the Book knows, and outcomes. The series of a
// provider are looked up once and then shared, so that counting takes no lock.
type metrics struct {
	requests   *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	throttled  *prometheus.CounterVec
	tokens     *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	firstToken *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	panics     prometheus.Counter

	mu         sync.Mutex                         // guards changes of byProvider
	byProvider atomic.Pointer[map[string]*series] // replaced whole
}

// series are the series of one provider.
type series struct {
	requests   [outcomes]prometheus.Counter
	attempts   [provider.Classes]prometheus.Counter
	throttled  prometheus.Counter
	in, out    prometheus.Counter // tokens
	duration   prometheus.Observer
	firstToken prometheus.Observer
}

var secondBuckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		r = prometheus.NewRegistry()
	}
	m := &metrics{
		requests: newCounter("apipool_requests_total", "Requests of clients, by what the client saw.", "outcome"),
		attempts: newCounter("apipool_upstream_attempts_total", "Tries with one key each, by what they came to.", "outcome"),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apipool_upstream_throttled_total", Help: "Requests held back from a provider that fails altogether.",
		}, []string{"provider"}),
		tokens:     newCounter("apipool_tokens_total", "Tokens of answers, as the upstream or an estimate has it.", "type"),
		duration:   newHistogram("apipool_request_duration_seconds", "Time from a request's arrival to the end of its answer."),
		firstToken: newHistogram("apipool_time_to_first_token_seconds", "Time from a request's arrival to the first event of its stream."),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "apipool_in_flight", Help: "Requests being served.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apipool_panics_total", Help: "Panics caught while serving a request.",
		}),
	}
	m.byProvider.Store(&map[string]*series{})
	r.MustRegister(m.requests, m.attempts, m.throttled, m.tokens, m.duration, m.firstToken, m.inFlight, m.panics)
	return m
}

func newCounter(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"provider", label})
}

func newHistogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: secondBuckets, NativeHistogramBucketFactor: 1.1,
	}, []string{"provider"})
}

// of answers the series of a provider, which the Book must know; empty: none was found for a request.
func (m *metrics) of(providerID string) *series {
	if s := (*m.byProvider.Load())[providerID]; s != nil {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := *m.byProvider.Load()
	if s := now[providerID]; s != nil {
		return s
	}
	next, s := maps.Clone(now), m.newSeries(providerID)
	next[providerID] = s
	m.byProvider.Store(&next)
	return s
}

func (m *metrics) newSeries(name string) *series {
	if name == "" {
		name = "none"
	}
	s := &series{
		in: m.tokens.WithLabelValues(name, "input"), out: m.tokens.WithLabelValues(name, "output"),
		duration: m.duration.WithLabelValues(name), firstToken: m.firstToken.WithLabelValues(name),
	}
	for i := range s.requests {
		s.requests[i] = m.requests.WithLabelValues(name, outcomeNames[i])
	}
	s.throttled = m.throttled.WithLabelValues(name)
	for i := range s.attempts {
		s.attempts[i] = m.attempts.WithLabelValues(name, provider.Class(i).String())
	}
	return s
}

func (m *metrics) request(x *exchange, took time.Duration) {
	s := m.of(x.providerID())
	s.requests[x.outcome()].Inc()
	s.duration.Observe(took.Seconds())
	if x.firstEvent > 0 {
		s.firstToken.Observe(x.firstEvent.Seconds())
	}
	if !x.fromCache {
		s.in.Add(float64(x.usage.Input))
		s.out.Add(float64(x.usage.Output))
	}
}

func (m *metrics) attempt(providerID string, c provider.Class) { m.of(providerID).attempts[c].Inc() }

// outcome is what metrics and logs call the end of an exchange: the ends that are counted, and two that are not a client's.
type outcome uint8

const (
	outcomePanic        = outcome(leases.Ends)
	outcomeUnauthorized = outcome(leases.Ends) + 1
	outcomes            = int(leases.Ends) + 2
)

var outcomeNames = [outcomes]string{
	leases.EndOK: "ok", leases.EndClientError: "client_error", leases.EndLimited: "limited",
	leases.EndUnavailable: "unavailable", leases.EndUpstreamError: "upstream_error", leases.EndTruncated: "truncated",
	leases.EndCanceled: "canceled", outcomePanic: "panic", outcomeUnauthorized: "unauthorized",
}

func (o outcome) String() string { return outcomeNames[o] }

func (x *exchange) outcome() outcome {
	switch {
	case x.panicked:
		return outcomePanic
	case x.stranger:
		return outcomeUnauthorized
	default:
		return outcome(x.end)
	}
}
