package proxy

import (
	"net/http"
	"strings"
)

// defaultProvider is who serves the paths that name none.
const defaultProvider = "ollama"

// route is a path of the API and what serves it.
type route struct {
	path   string
	method string
	head   bool // HEAD is answered like GET
	open   bool // needs no token
	named  bool // also under /{provider}
	serve  func(*Proxy, *exchange) *problem
}

// routes is the whole API; a new path is a line here.
var routes = []route{
	{path: "/", method: http.MethodGet, head: true, open: true, serve: (*Proxy).greet},
	{path: "/health", method: http.MethodGet, head: true, open: true, serve: (*Proxy).health},
	{path: "/v1/chat/completions", method: http.MethodPost, named: true, serve: (*Proxy).relay},
	{path: "/v1/models", method: http.MethodGet, named: true, serve: (*Proxy).models},
}

var routeByPath = func() map[string]*route {
	m := make(map[string]*route, len(routes))
	for i := range routes {
		m[routes[i].path] = &routes[i]
	}
	return m
}()

// find answers the route of a request and the provider it names. Whether there is such a provider is not asked here: that
// is told only to those who have a token.
func find(r *http.Request) (rt *route, providerID string) {
	if r.URL.RawPath != "" || r.URL.Host != "" || r.URL.Scheme != "" { // encoded slashes and the like; absolute form
		return nil, ""
	}
	path := r.URL.Path
	if rt = routeByPath[path]; rt != nil {
		return rt, defaultProvider
	}
	id, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || !isProviderID(id) {
		return nil, ""
	}
	if rt = routeByPath["/"+rest]; rt != nil && rt.named {
		return rt, id
	}
	return nil, ""
}

func (rt *route) takes(method string) bool {
	return method == rt.method || rt.head && method == http.MethodHead
}

// methods is what Allow says.
func (rt *route) methods() string {
	if rt.head {
		return rt.method + ", " + http.MethodHead + ", " + http.MethodOptions
	}
	return rt.method + ", " + http.MethodOptions
}

func isProviderID(s string) bool {
	if len(s) < 2 || len(s) > 31 || s[0]-'a' > 25 {
		return false
	}
	for _, c := range []byte(s) {
		if c-'a' > 25 && c-'0' > 9 && c != '-' {
			return false
		}
	}
	return true
}
