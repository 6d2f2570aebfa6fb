// Package proxy is the path of a client's request: who asks, for which model, with which key it is sent, what the answer
// means, and how it is passed on. ServeHTTP has it all on one page; attempt.go is one try with one key, stream.go passes
// events on, problem.go holds every word that a client is told by the pool itself.
//
// The proxy keeps nothing that matters: when the process dies, clients see cut connections and nothing else is lost. It
// never waits for the control plane.
package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ollama-api-pool/dataplane/internal/answers"
	"ollama-api-pool/dataplane/internal/origin"
)

// Config makes a Proxy.
type Config struct {
	Book            Book             // keys and tokens. Required
	Version, Region string           // told by /health
	MaxBody         int64            // of a request; default 32 MiB
	CORSOrigins     []string         // whose pages may call; nil: all ("*"), empty: none
	TrustedProxies  origin.Trusted   // whose word about where a request comes from is taken
	Failures        *origin.Failures // of logins; default: one that holds back 256
	Logger          *slog.Logger     // default: discards
	// ExposeRouteHeaders adds x-pool-attempts, x-pool-key and x-pool-region to answers.
	ExposeRouteHeaders bool
	// Draining says whether no new requests are to be taken; default: never.
	Draining func() bool
	// DialUpstream replaces the dialer to upstreams, and with it the guard against private addresses.
	DialUpstream func(ctx context.Context, network, addr string) (net.Conn, error)
	Registerer   prometheus.Registerer // default: metrics are counted but not shown
	Now          func() time.Time      // default time.Now
}

func (c Config) maxBody() int64 {
	if c.MaxBody > 0 {
		return c.MaxBody
	}
	return 32 << 20
}

func (c Config) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func (c Config) clock() func() time.Time {
	if c.Now != nil {
		return c.Now
	}
	return time.Now
}

func (c Config) draining() func() bool {
	if c.Draining != nil {
		return c.Draining
	}
	return func() bool { return false }
}

func (c Config) failures() *origin.Failures {
	if c.Failures != nil {
		return c.Failures
	}
	return origin.NewFailures(c.clock(), 256)
}

func (c Config) userAgent() string {
	if c.Version == "" {
		return "ollama-api-pool"
	}
	return "ollama-api-pool/" + c.Version
}

var _ http.Handler = (*Proxy)(nil)

// Proxy serves the API that clients call. Make it with New.
type Proxy struct {
	book      lender
	probes    Book // nil in tests that do not probe
	maxBody   int64
	cors      corsPolicy
	expose    bool
	region    string
	version   string
	agent     string
	log       *slog.Logger
	now       func() time.Time
	metrics   *metrics
	upstreams upstreams
	bodies    *memory
	lists     modelLists
	trusted   origin.Trusted
	failures  *origin.Failures
	answers   *answers.Cache
	draining  func() bool
}

// New makes a Proxy.
func New(c Config) *Proxy {
	p := newProxy(c, bookLender{c.Book})
	p.probes = c.Book
	return p
}

func newProxy(c Config, b lender) *Proxy {
	return &Proxy{
		book: b, maxBody: c.maxBody(), cors: newCORSPolicy(c.CORSOrigins), expose: c.ExposeRouteHeaders,
		region: c.Region, version: c.Version, agent: c.userAgent(), log: c.logger(), now: c.clock(),
		metrics: newMetrics(c.Registerer), upstreams: upstreams{dial: c.DialUpstream}, bodies: newMemory(bodyMemory()),
		trusted: c.TrustedProxies, failures: c.failures(), draining: c.draining(),
		answers: answers.New(answers.Config{MaxBytes: answerMemory()}),
	}
}

// CloseIdle closes the connections to upstreams that no request is using.
func (p *Proxy) CloseIdle() { p.upstreams.closeIdle() }

// ServeHTTP is a request's whole life.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := p.begin(w, r)
	defer p.finish(x) // counts and logs it, whatever happened, and answers for a panic
	if prob := p.serve(x); prob != nil {
		x.refuse(prob)
	}
}

func (p *Proxy) serve(x *exchange) *problem {
	p.cors.allow(x.w.Header(), x.r.Header)
	rt, providerID := find(x.r)
	switch {
	case rt == nil:
		x.api = apiOf(x.r.URL.Path)
		return problemNotFound
	case rt.api != nil:
		x.api = rt.api
	}
	switch {
	case x.r.Method == http.MethodOptions:
		p.cors.preflight(x, rt)
		return nil
	case !rt.takes(x.r.Method):
		return problemMethod(rt.methods())
	case rt.open:
		return rt.serve(p, x)
	}
	if p.draining() {
		x.w.Header().Set("Connection", "close") // so that the next request goes elsewhere
		return problemDraining
	}
	x.route = rt
	x.w.Header().Set("Cache-Control", "no-store")
	if prob := p.identify(x); prob != nil {
		return prob
	}
	if prob := p.admit(x, providerID); prob != nil {
		return prob
	}
	return rt.serve(p, x)
}

// ask reads what the client asks for and makes it what the upstream is asked for.
func (x *exchange) ask() *problem {
	if x.r.Method == http.MethodPost {
		if prob := x.readBody(); prob != nil {
			return prob
		}
	}
	if err := x.token.Allows(x.prov.ID, x.model, x.p.now()); err != nil { // by the name that the client uses
		return problemNotAllowed(err)
	}
	return x.rewrite()
}

// relay passes a request on to the provider with one key after another, until one answers or no other may be tried.
func (p *Proxy) relay(x *exchange) *problem {
	if prob := x.meter(); prob != nil {
		return prob
	}
	if prob := x.ask(); prob != nil || x.answerFromKept() {
		return prob
	}
	x.kin = x.affinity()
	if !x.up.throttle.admits(p.now()) {
		p.metrics.of(x.prov.ID).throttled.Inc()
		return problemThrottled
	}
	x.up.retries.arrive(p.now())
	allowed := newTries(x.prov, x.up.retries)
	for {
		l, prob := x.borrow(x.r.Context())
		if prob != nil {
			return prob
		}
		v, answered := x.try(l)
		if answered {
			return nil
		}
		x.met.add(v)
		if !allowed.another(v, p.now()) {
			return x.met.problem(nil)
		}
	}
}
