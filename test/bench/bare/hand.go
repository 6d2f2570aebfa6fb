// Package bare holds the proxies that ours is compared with: they forward with one fixed key and do nothing else. No token is
// checked, no key chosen, nothing retried, nothing counted. It is the least that a Go program has to do.
package bare

import (
	"context"
	"io"
	"maps"
	"net/http"
	"sync"
)

// Config says where to forward to.
type Config struct {
	Upstream string // host:port
	Key      string // sent in the place of the client's credential
}

func (c Config) transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 8192, DisableCompression: true}
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// Hand is the proxy that a careful person writes by hand on net/http: a round trip and a copy.
func Hand(c Config) http.Handler {
	transport := c.transport()
	return duplex(func(w http.ResponseWriter, r *http.Request) {
		resp, err := transport.RoundTrip(forwarded(r.Context(), r, c))
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		maps.Copy(w.Header(), resp.Header)
		w.WriteHeader(resp.StatusCode)
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		relay(w, resp, *buf)
	})
}

func forwarded(ctx context.Context, r *http.Request, c Config) *http.Request {
	u := *r.URL
	u.Scheme, u.Host = "http", c.Upstream
	header := maps.Clone(r.Header)
	header["Authorization"] = []string{"Bearer " + c.Key}
	return (&http.Request{
		Method: r.Method, URL: &u, Header: header, Body: r.Body, ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
}

// duplex lets a proxy read the end of a request while it writes the beginning of the answer. Otherwise net/http closes the request's
// body with the first write. A transport that has not seen its end yet, although it has sent all of it, takes that for a failure, and
// cuts the answer in the middle.
func duplex(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // not supported: HTTP/2, which always is
		h(w, r)
	})
}

// relay copies, and flushes what has no length as it comes.
func relay(w http.ResponseWriter, resp *http.Response, buf []byte) {
	out := http.NewResponseController(w)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			if resp.ContentLength < 0 && out.Flush() != nil {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // a cut answer must not look complete
		}
	}
}
