package fakellm

import (
	"net/http"
	"strings"
)

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
	errors shape
	head   bool // HEAD is answered like GET; elsewhere it is 405, as with Ollama
	serve  func(*exchange)
}

// anyModel stands for a model's name, which may hold slashes, at the end of a path.
const anyModel = "{model}"

func (u *Upstream) makeRoutes() map[string]route {
	routes := map[string]route{
		"/":                      {method: http.MethodGet, head: true, serve: (*exchange).greet},
		"/v1/models":             {method: http.MethodGet, serve: (*exchange).models},
		"/v1/models/" + anyModel: {method: http.MethodGet, serve: (*exchange).model},
	}
	if u.cfg.Dialect == Ollama {
		for path, serve := range map[string]func(*exchange){
			"/api/tags": (*exchange).tags, "/api/ps": (*exchange).running, "/api/version": (*exchange).version,
		} {
			routes[path] = route{method: http.MethodGet, errors: ollamaShape, serve: serve}
		}
		routes["/api/show"] = route{method: http.MethodPost, errors: ollamaShape, serve: (*exchange).show}
	}
	for path, a := range modelPaths {
		if u.cfg.Dialect == Ollama || strings.HasPrefix(path, "/v1/") {
			routes[path] = route{method: http.MethodPost, asks: a.asks, errors: a.errors, serve: func(x *exchange) { x.ask(a) }}
		}
	}
	if u.cfg.Dialect == OpenRouter {
		for path, rt := range routes {
			if strings.HasPrefix(path, "/v1/") {
				routes["/api"+path] = rt
			}
		}
		routes["/api/v1/key"] = route{method: http.MethodGet, asks: asksKey, serve: (*exchange).keyInfo}
	}
	return routes
}

// find returns the route of a request: the zero route if there is none. allow is
// the method to name when the path exists and the method is wrong.
func (u *Upstream) find(r *http.Request) (rt route, allow string) {
	path := r.URL.Path
	if before, _ := cutModel(path); before != "" {
		path = before + anyModel
	}
	rt, ok := u.routes[path]
	if !ok {
		return route{}, ""
	}
	if r.Method == rt.method || rt.head && r.Method == http.MethodHead {
		return rt, ""
	}
	return route{}, rt.method
}

// cutModel returns the name of a model at the end of a path, and what is before.
func cutModel(path string) (before, model string) {
	const models = "/models/"
	before, model, _ = strings.Cut(path, models)
	if model == "" {
		return "", ""
	}
	return before + models, model
}
