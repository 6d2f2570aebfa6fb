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
	rest   bool // the path is followed by more, which is an id that may hold slashes
	tokens tokenUse
	api    *clientAPI
	serve  func(*Proxy, *exchange) *problem
}

// routes is the whole API; a new path is a line here.
var routes = []route{
	{path: "/", method: http.MethodGet, head: true, open: true, serve: (*Proxy).greet},
	{path: "/health", method: http.MethodGet, head: true, open: true, serve: (*Proxy).health},
	{path: "/v1/chat/completions", method: http.MethodPost, named: true, tokens: inAndOut, api: openAIChat, serve: (*Proxy).relay},
	{path: "/v1/completions", method: http.MethodPost, named: true, tokens: inAndOut, api: openAIChat, serve: (*Proxy).relay},
	{path: "/v1/embeddings", method: http.MethodPost, named: true, tokens: inOnly, api: openAIChat, serve: (*Proxy).relay},
	{path: "/v1/responses", method: http.MethodPost, named: true, tokens: inAndOut, api: openAIResponses, serve: (*Proxy).relay},
	{path: "/v1/messages", method: http.MethodPost, named: true, tokens: inAndOut, api: anthropic, serve: (*Proxy).relay},
	{path: "/v1/messages/count_tokens", method: http.MethodPost, named: true, api: anthropic, serve: (*Proxy).relay},
	{path: "/v1/models", method: http.MethodGet, named: true, api: openAIChat, serve: (*Proxy).models},
	{path: "/v1/models/", method: http.MethodGet, named: true, rest: true, api: openAIChat, serve: (*Proxy).model},

	{path: "/api/chat", method: http.MethodPost, named: true, tokens: inAndOut, api: ollamaChat, serve: (*Proxy).relay},
	{path: "/api/generate", method: http.MethodPost, named: true, tokens: inAndOut, api: ollamaChat, serve: (*Proxy).relay},
	{path: "/api/embed", method: http.MethodPost, named: true, tokens: inOnly, api: ollamaPlain, serve: (*Proxy).relay},
	{path: "/api/embeddings", method: http.MethodPost, named: true, tokens: inOnly, api: ollamaPlain, serve: (*Proxy).relay},
	{path: "/api/show", method: http.MethodPost, named: true, api: ollamaPlain, serve: (*Proxy).relay},
	{path: tagsPath, method: http.MethodGet, named: true, api: ollamaPlain, serve: (*Proxy).tags},
	{path: "/api/ps", method: http.MethodGet, named: true, api: ollamaPlain, serve: (*Proxy).relay},
	{path: "/api/version", method: http.MethodGet, named: true, api: ollamaPlain, serve: (*Proxy).relay},
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
	if r.URL.Host != "" || r.URL.Scheme != "" { // absolute form
		return nil, ""
	}
	if r.URL.RawPath != "" && !encodesOnlyID(r.URL.Path, r.URL.RawPath) {
		return nil, ""
	}
	if rt = at(r.URL.Path); rt != nil {
		return rt, defaultProvider
	}
	id, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !ok || !isProviderID(id) {
		return nil, ""
	}
	if rt = at("/" + rest); rt != nil && rt.named {
		return rt, id
	}
	return nil, ""
}

// at answers the route of a path without a provider.
func at(path string) *route {
	if rt := routeByPath[path]; rt != nil && !rt.rest {
		return rt
	}
	if id, ok := strings.CutPrefix(path, modelPath); ok && isModelID(id) {
		return routeByPath[modelPath]
	}
	return nil
}

// modelPath is followed by the id of a model.
const modelPath = "/v1/models/"

// isModelID says whether the rest of a path can be a model's name. Segments that mean another path are none.
func isModelID(id string) bool {
	for segment := range strings.SplitSeq(id, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// encodesOnlyID says whether nothing but a model's name is written with escapes, such as %2F, that change what a path means.
func encodesOnlyID(path, raw string) bool {
	at := strings.Index(path, modelPath)
	return at >= 0 && strings.HasPrefix(raw, path[:at+len(modelPath)])
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
