package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const (
	maxSmall = 64 << 10 // bytes of an answer that is only judged
	maxList  = 8 << 20
)

// upstream is one revision of a provider with the connections made under it.
type upstream struct {
	provider  pool.Provider
	dialect   dialect
	transport *http.Transport

	listing sync.Mutex // guards what follows; held while the list is asked for, so that one question serves all
	names   []string   // of the public list
	listed  time.Time
}

// upstream answers the provider as it is reached now; false: its dialect is not known.
func (p *Prober) upstream(of pool.Provider) (*upstream, bool) {
	d, ok := dialects[of.Dialect]
	if !ok {
		return nil, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	up := p.upstreams[of.ID]
	if up != nil && up.provider.Revision == of.Revision && up.provider.BaseURL == of.BaseURL {
		return up, true
	}
	if up != nil {
		up.transport.CloseIdleConnections()
	}
	up = &upstream{provider: of, dialect: d, transport: p.newTransport(of)}
	p.upstreams[of.ID] = up
	return up, true
}

// newTransport makes connections that carry a credential: to the provider's own address, by no proxy, and with no redirect
// (only RoundTrip is used).
func (p *Prober) newTransport(of pool.Provider) *http.Transport {
	connect := of.WithDefaults().ConnectTimeout
	dial := p.dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second, Control: guard(of.AllowPrivateAddresses)}).DialContext
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			return dial(ctx, network, address)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxQuestions,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// question is a request of the pool's own.
type question struct {
	method, path string
	body         []byte
	time         time.Duration
	limit        int64 // bytes of the answer
}

// ask asks when it is its turn, and judges what comes. The error is ctx's.
func (p *Prober) ask(ctx context.Context, up *upstream, q question, key pool.Secret, judge func(int, http.Header, []byte) Answer) (Answer, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
	timed, cancel := context.WithTimeout(ctx, q.time)
	defer cancel()
	status, h, body, err := p.send(timed, up, q, key)
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case errors.Is(err, errForbiddenAddress), errors.Is(err, errAddress):
		return Answer{Reason: Misconfigured}, nil
	case timed.Err() != nil, isTimeout(err):
		return Answer{Reason: Timeout}, nil
	case err != nil:
		return Answer{Reason: Unreachable}, nil
	}
	return judge(status, h, body), nil
}

var errAddress = errors.New("the provider's address cannot be used")

// send is the only place of this package that reveals a key. What it answers holds nothing that the transport says: that
// may quote the upstream.
func (p *Prober) send(ctx context.Context, up *upstream, q question, key pool.Secret) (status int, h http.Header, body []byte, err error) {
	at, err := url.Parse(join(up.provider.BaseURL, q.path))
	if err != nil || at.Host == "" {
		return 0, nil, nil, errAddress
	}
	r := &http.Request{Method: q.method, URL: at, Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if q.body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(q.body)), int64(len(q.body))
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range up.provider.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", p.agent)
	r.Header.Set("Authorization", "Bearer "+key.Reveal())
	resp, err := up.transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }() // closed and not drained: a body may have no end
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, resp.Header, nil, nil
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, q.limit))
	if err != nil && ctx.Err() == nil && resp.StatusCode >= 300 { // a refusal is told by its status
		err = nil
	}
	return resp.StatusCode, resp.Header, body, err
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
