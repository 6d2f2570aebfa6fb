package server

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// gate is what every request passes before it is looked at. It knows nothing of the API: it refuses what no client of it
// sends, and ends connections whose next bytes something in front might read in another way than this server does.
type gate struct {
	next    http.Handler
	most    int64 // requests at once: over HTTP/2 there are more of them than connections
	running atomic.Int64
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer g.running.Add(-1)
	if g.running.Add(1) > g.most {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "server_error", "overloaded", "Too many requests are under way; try again soon.")
		return
	}
	switch {
	case switchesProtocol(r):
		w.Header().Set("Connection", "close")
		refuse(w, http.StatusBadRequest, "invalid_request_error", "upgrade_refused", "This server switches to no other protocol.")
		return
	case isOdd(r):
		w.Header().Set("Connection", "close")
	}
	g.next.ServeHTTP(w, r)
}

// switchesProtocol says whether a request wants to go on in another protocol, such as websocket. Some clients offer HTTP/2
// with their first request (h2c) and are content with an answer: their offer is passed over.
func switchesProtocol(r *http.Request) bool {
	for _, protocols := range r.Header["Upgrade"] {
		for p := range strings.SplitSeq(protocols, ",") {
			if p = strings.TrimSpace(p); p != "" && !strings.EqualFold(p, "h2c") {
				return true
			}
		}
	}
	return false
}

// isOdd says whether a request is none that a client of the API sends: for a proxy, for a tunnel, or for a path that means
// another one. The proxy answers it as it answers any path that there is not.
func isOdd(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.Method == http.MethodTrace ||
		r.URL.Host != "" || r.URL.Scheme != "" ||
		strings.Contains(r.URL.Path, "/.") || strings.Contains(r.URL.Path, "//") || strings.Contains(r.URL.Path, `\`) ||
		r.URL.RawPath != "" && !strings.Contains(r.URL.RawPath, "/v1/models/")
}

// refusalTime is for how long a refused client may take to send what it began and to take the answer: net/http reads a body
// that nobody has read before it lets a connection go.
const refusalTime = 5 * time.Second

// refuse answers in OpenAI's words, which is what most clients speak. No API has been asked for yet.
func refuse(w http.ResponseWriter, status int, typ, code, message string) {
	rc, by := http.NewResponseController(w), time.Now().Add(refusalTime)
	_, _ = rc.SetReadDeadline(by), rc.SetWriteDeadline(by)
	body := `{"error":{"message":` + strconv.Quote(message) + `,"type":"` + typ + `","param":null,"code":"` + code + `"}}`
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // whoever is gone needs no answer
}
