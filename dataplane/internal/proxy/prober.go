package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

const (
	maxProbes    = 4 // of one provider's keys at the same time; those of one that is silent keep no other's waiting
	probeTimeout = 15 * time.Second
)

// RunProbes asks upstreams about keys whenever the control plane wants this node to, until ctx is done; then it waits for
// the probes under way. Probes are told from clients' requests by their User-Agent.
func (p *Proxy) RunProbes(ctx context.Context) {
	p.runProbes(ctx, p.probes, func(l leases.Loan) loan { return bookLoan{l, p.probes} })
}

func (p *Proxy) runProbes(ctx context.Context, asked prober, borrowed func(leases.Loan) loan) {
	var running sync.WaitGroup
	defer running.Wait()
	places := map[string]chan struct{}{} // by provider
	for {
		select {
		case probe, ok := <-asked.Probes():
			if !ok {
				return
			}
			var id string
			if probe.Provider != nil {
				id = probe.Provider.ID
			}
			if places[id] == nil {
				places[id] = make(chan struct{}, maxProbes)
			}
			place := places[id]
			running.Go(func() { p.answer(ctx, asked, borrowed, probe, place) })
		case <-ctx.Done():
			return
		}
	}
}

// answer makes a probe in its turn, or none if ctx ends before. It is answered whatever happens, before its place is another's. The
// control plane bounds how many wait.
func (p *Proxy) answer(
	ctx context.Context, asked prober, borrowed func(leases.Loan) loan, probe leases.Probe, place chan struct{},
) {
	v := provider.Verdict{Class: provider.LocalError}
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
	case <-ctx.Done():
		asked.Probed(probe.Loan, v)
		return
	}
	defer func() { asked.Probed(probe.Loan, v) }()
	defer p.caught(func() {})
	v = p.probe(ctx, borrowed(probe.Loan), probe)
}

// probe sends the dialect's cheapest question and reads the answer.
func (p *Proxy) probe(ctx context.Context, l loan, what leases.Probe) provider.Verdict {
	up, err := p.upstreams.get(what.Provider)
	if err != nil {
		return provider.Verdict{Class: provider.LocalError}
	}
	ttl := probeTimeout
	if what.TTL > 0 {
		ttl = min(ttl, what.TTL)
	}
	timed, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	timed, end := context.WithCancelCause(timed)
	defer end(nil)
	var cut leases.Cut
	defer l.Unwatch(&cut)
	if !l.Watch(&cut, end) || !l.Usable() { // it waited too long for its turn, or the key has gone
		return provider.Verdict{Class: provider.LocalError}
	}
	method, path, body := up.dialect.Probe()
	resp, said, secret, err := up.ask(timed, question{ //nolint:bodyclose // ask has read and closed it
		method: method, path: path, body: body, limit: maxRefusal, prov: what.Provider, agent: p.agent + " (probe)", loan: l,
	})
	switch {
	case ctx.Err() != nil:
		return provider.Verdict{Class: provider.LocalError}
	case errors.Is(err, context.DeadlineExceeded):
		return provider.Verdict{Class: provider.Timeout}
	case err != nil:
		return provider.Verdict{Class: provider.LocalError}
	}
	v := up.dialect.JudgeProbe(resp.StatusCode, resp.Header, said, p.now())
	v.Message = redact(v.Message, secret, up.host, "")
	return v
}

// bodyOf answers a body to be sent; of a request without one it is known that there is none.
func bodyOf(b []byte) io.ReadCloser {
	if b == nil {
		return http.NoBody
	}
	return io.NopCloser(bytes.NewReader(b))
}
