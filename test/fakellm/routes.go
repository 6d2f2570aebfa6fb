package fakellm

import "net/http"

// asks says what a route wants of the key.
type asks int

const (
	asksNothing asks = iota // public: any key or none will do
	asksKey                 // a good key, free of charge
	asksPermit              // a good key, and one request of its limits
)

type route struct {
	method string
	asks   asks
	head   bool // HEAD is answered like GET; elsewhere it is 405, as with Ollama
	serve  func(*exchange)
}

func (u *Upstream) makeRoutes() map[string]route {
	chat := route{method: http.MethodPost, asks: asksPermit, serve: (*exchange).chat}
	models := route{method: http.MethodGet, serve: (*exchange).models}
	routes := map[string]route{
		"/":                    {method: http.MethodGet, head: true, serve: (*exchange).greet},
		"/v1/chat/completions": chat,
		"/v1/models":           models,
	}
	switch u.cfg.Dialect {
	case Ollama:
		routes["/api/tags"] = route{method: http.MethodGet, serve: (*exchange).tags}
	case OpenRouter:
		routes["/api/v1/chat/completions"] = chat
		routes["/api/v1/models"] = models
		routes["/api/v1/key"] = route{method: http.MethodGet, asks: asksKey, serve: (*exchange).keyInfo}
	}
	return routes
}

// find returns the route of a request: the zero route if there is none. allow is
// the method to name when the path exists and the method is wrong.
func (u *Upstream) find(r *http.Request) (rt route, allow string) {
	rt, ok := u.routes[r.URL.Path]
	if !ok {
		return route{}, ""
	}
	if r.Method == rt.method || rt.head && r.Method == http.MethodHead {
		return rt, ""
	}
	return route{}, rt.method
}
