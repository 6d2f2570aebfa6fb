package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// How long is waited for an upstream whose provider does not say.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultFirstByteTimeout = 5 * time.Minute // answers that are not streamed begin when they are complete
	defaultIdleTimeout      = 2 * time.Minute
)

// idleConnTimeout is shorter than what servers and balancers usually allow, so that the pool closes first.
const idleConnTimeout = 45 * time.Second

// errMisconfigured tells that a provider's address cannot be used at all.
var errMisconfigured = errors.New("the provider's address cannot be used")

// upstream is a provider as it is reached: one revision of its settings with the connections made under them.
type upstream struct {
	revision  uint64
	base      string
	host      string
	private   bool
	dialect   provider.Dialect
	transport *http.Transport
	urls      map[string]*url.URL // of the paths that clients may ask for
	firstByte time.Duration
	idle      time.Duration
	retries   *retryBudget // outlives the revision
	throttle  *throttle    // so does it
}

// upstreams keeps one upstream per provider.
type upstreams struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: a guarded dialer

	mu   sync.RWMutex // guards byID
	byID map[string]*upstream
}

// get answers the upstream for this revision of the provider. When the revision changes, new requests take new connections;
// those under way end on the old ones.
func (us *upstreams) get(p *provider.Provider) (*upstream, error) {
	us.mu.RLock()
	up := us.byID[p.ID]
	us.mu.RUnlock()
	if up != nil && up.is(p) {
		return up, nil
	}
	us.mu.Lock()
	defer us.mu.Unlock()
	old := us.byID[p.ID]
	if old != nil && old.is(p) {
		return old, nil
	}
	up, err := us.open(p)
	if err != nil {
		return nil, err
	}
	if old != nil {
		up.retries, up.throttle = old.retries, old.throttle
		old.transport.CloseIdleConnections()
	}
	if us.byID == nil {
		us.byID = map[string]*upstream{}
	}
	us.byID[p.ID] = up
	return up, nil
}

func (us *upstreams) closeIdle() {
	us.mu.RLock()
	defer us.mu.RUnlock()
	for _, up := range us.byID {
		up.transport.CloseIdleConnections()
	}
}

func (up *upstream) is(p *provider.Provider) bool {
	return up.revision == p.Revision && up.base == p.BaseURL && up.private == p.AllowPrivateAddresses
}

func (us *upstreams) open(p *provider.Provider) (*upstream, error) {
	dialect, ok := provider.Lookup(p.Dialect)
	if !ok {
		return nil, errMisconfigured
	}
	base, err := url.Parse(p.BaseURL)
	if err != nil || base.Host == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errMisconfigured
	}
	if base.Scheme != "https" && (base.Scheme != "http" || !p.AllowPrivateAddresses) {
		return nil, errMisconfigured
	}
	up := &upstream{
		revision: p.Revision, base: p.BaseURL, host: base.Hostname(), private: p.AllowPrivateAddresses, dialect: dialect,
		firstByte: orDefault(p.FirstByteTimeout, defaultFirstByteTimeout), idle: orDefault(p.IdleTimeout, defaultIdleTimeout),
		retries: &retryBudget{}, throttle: &throttle{}, urls: map[string]*url.URL{},
	}
	up.transport = us.newTransport(p)
	for _, rt := range routes {
		if rt.named {
			u, err := url.Parse(dialect.URL(p.BaseURL, rt.path))
			if err != nil {
				return nil, errMisconfigured
			}
			up.urls[rt.path] = u
		}
	}
	return up, nil
}

// newTransport makes connections that carry a credential: to the provider's own address, by no proxy, with no redirect
// (only RoundTrip is used), and with nothing added that the client did not ask for.
func (us *upstreams) newTransport(p *provider.Provider) *http.Transport {
	connect := orDefault(p.ConnectTimeout, defaultConnectTimeout)
	dial := us.dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: 30 * time.Second, Control: guard(p.AllowPrivateAddresses)}).DialContext
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			return dial(ctx, network, addr)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connect,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    4096,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// roundTrip sends a request. An upstream that switches protocols has said all it will: its connection would be read from
// without end, as it no longer belongs to the transport and heeds no context.
func (up *upstream) roundTrip(r *http.Request) (*http.Response, error) {
	resp, err := up.transport.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	return resp, err
}

// wasIdle says whether a request failed because the upstream had closed the connection before anything was sent on it. Only
// then may it be sent again with the same key: nobody has seen it. An error may quote the upstream, but not at its beginning.
func wasIdle(err error) bool {
	text := strings.TrimPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: ")
	return text == "http: server closed idle connection" || strings.HasPrefix(text, "readLoopPeekFailLocked: ")
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
