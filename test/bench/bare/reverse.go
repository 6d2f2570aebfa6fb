package bare

import (
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Reverse is what the standard library offers, with its buffers pooled.
func Reverse(c Config) http.Handler {
	to := &url.URL{Scheme: "http", Host: c.Upstream}
	return duplex((&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Authorization", "Bearer "+c.Key)
		},
		Transport:     c.transport(),
		FlushInterval: -1,
		BufferPool:    pool{},
	}).ServeHTTP)
}

// pool lends the same buffers as the proxy beside it takes.
type pool struct{}

func (pool) Get() []byte { return *buffers.Get().(*[]byte) }

func (pool) Put(b []byte) { buffers.Put(&b) }
