// Package probe asks an upstream about a key as cheaply as it can: whether the key is good, and which models it serves.
//
// It is for what operators ask by hand (imports, verification, checks). The probes that decide a key's health in the fleet
// are made by the data planes. Both keep to the same rules, which each plane has for itself; test/arrows compares what must
// not differ.
//
// A question costs no token where the upstream allows it, has a time limit, follows no redirect, and goes to the key's own
// provider only. What an answer says in words is judged here and told to nobody.
package probe

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const (
	maxQuestions = 16 // at the same time, over all that is asked
	checkTime    = 15 * time.Second
	listTime     = 30 * time.Second
	chatTime     = time.Minute // a model may have to be loaded first
)

// Config makes a Prober; the zero value works.
type Config struct {
	// Version is told to upstreams in the User-Agent.
	Version string
	// Dial replaces the dialer, and with it the guard against private addresses.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

func (c Config) agent() string {
	if c.Version == "" {
		return "ollama-api-pool (probe)"
	}
	return "ollama-api-pool/" + c.Version + " (probe)"
}

func (c Config) clock() func() time.Time {
	if c.Now != nil {
		return c.Now
	}
	return time.Now
}

// Prober asks. Make it with New, and close it when nobody asks any more.
type Prober struct {
	agent string
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	now   func() time.Time
	slots chan struct{} // one for each question under way

	mu        sync.Mutex // guards upstreams
	upstreams map[pool.ProviderID]*upstream
}

// New makes a Prober.
func New(c Config) *Prober {
	return &Prober{
		agent: c.agent(), dial: c.Dial, now: c.clock(), slots: make(chan struct{}, maxQuestions),
		upstreams: map[pool.ProviderID]*upstream{},
	}
}

// Close closes the connections that are open.
func (p *Prober) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, up := range p.upstreams {
		up.transport.CloseIdleConnections()
	}
}

// Check asks whether the key is good. It costs no token where the upstream has a way to ask for free. The error is ctx's:
// whatever the upstream does is an answer.
func (p *Prober) Check(ctx context.Context, of pool.Provider, key pool.Secret) (Answer, error) {
	up, ok := p.upstream(of)
	if !ok {
		return Answer{Reason: Misconfigured}, nil
	}
	q := up.dialect.check
	q.time, q.limit = checkTime, maxSmall
	return p.ask(ctx, up, q, key, func(status int, h http.Header, body []byte) Answer {
		return up.dialect.judge(status, h, body, p.now())
	})
}

// Examine asks whether the key is good, and if so which models it serves. Where the upstream shows its list to everybody,
// up to three one-token requests find out; the key's own limits may get in their way, which the answer then tells.
func (p *Prober) Examine(ctx context.Context, of pool.Provider, key pool.Secret) (Answer, Models, error) {
	a, err := p.Check(ctx, of, key)
	if err != nil || a.Finding != Good {
		return a, Models{}, err
	}
	up, ok := p.upstream(of)
	if !ok {
		return a, Models{}, nil
	}
	if up.dialect.listIsPublic {
		return p.tryModels(ctx, up, key, a)
	}
	names, said, err := p.list(ctx, up, key)
	if said.Finding == Rejected {
		return said, Models{}, err
	}
	return a, Models{Names: names, Category: categoryOf(names)}, err
}

// tryModels sends a one-token request to one model of each of the first families that are on offer, until one serves.
func (p *Prober) tryModels(ctx context.Context, up *upstream, key pool.Secret, good Answer) (Answer, Models, error) {
	names, err := p.publicList(ctx, up, key)
	if err != nil {
		return good, Models{}, err
	}
	for _, model := range oneOfEach(names, maxTried) {
		a, err := p.Serves(ctx, up.provider, key, model)
		if err != nil {
			return good, Models{}, err
		}
		switch a.Finding {
		case Good:
			return good, Models{Names: []string{model}, Category: Family(model)}, nil
		case Limited, Rejected:
			return a, Models{}, nil
		case Unknown: // this model is not for this key, or not now: the next may be
		}
	}
	return good, Models{}, nil
}

const maxTried = 3 // one-token requests

// Serves asks for one token of a model.
func (p *Prober) Serves(ctx context.Context, of pool.Provider, key pool.Secret, model string) (Answer, error) {
	up, ok := p.upstream(of)
	if !ok {
		return Answer{Reason: Misconfigured}, nil
	}
	q := question{method: http.MethodPost, path: chatPath, body: oneToken(model), time: chatTime, limit: maxSmall}
	return p.ask(ctx, up, q, key, func(status int, h http.Header, body []byte) Answer {
		return up.dialect.judgeChat(status, h, body, p.now())
	})
}
