package rest

import (
	_ "embed" // for the API's description
	"net/http"
	"strings"
)

// Health is what anyone may know.
type Health struct {
	Status    string                    `json:"status"` // ok or degraded
	Version   string                    `json:"version"`
	Providers map[string]ProviderHealth `json:"providers"`
}

// ProviderHealth is what anyone may know of a provider: no counts.
type ProviderHealth struct {
	Enabled    bool `json:"enabled"`
	Configured bool `json:"configured"` // it has a key
}

// openAPI is a copy of gen/openapi/openapi.swagger.json, because an embedded file must be in the folder and gen is emptied
// by every generation. A test compares them.
//
//go:embed openapi.json
var openAPI []byte

// pages are the paths that need no login, and the way to everything else. It is no http.ServeMux because that one redirects
// unclean paths instead of refusing them.
type pages struct {
	api  http.Handler
	open map[string]http.HandlerFunc
}

func newPages(c Config, api http.Handler) *pages {
	p := &pages{api: api, open: map[string]http.HandlerFunc{
		"/":             index(c),
		"/health":       health(c),
		"/healthz":      alive,
		"/readyz":       ready(c),
		"/openapi.json": describe,
	}}
	if c.Metrics != nil {
		p.open["/metrics"] = c.Metrics.ServeHTTP
	}
	return p
}

// ServeHTTP finds the page.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/admin/") {
		p.api.ServeHTTP(w, r)
		return
	}
	page := p.open[r.URL.Path]
	if page == nil {
		noEndpoint().write(w)
		return
	}
	x := exchangeOf(r.Context())
	x.route, x.probe = r.URL.Path, true
	if !reads(r) {
		wrongMethod(readMethods...).write(w)
		return
	}
	page(w, r)
}

func index(c Config) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{
			"name": "Ollama API Pool control plane", "version": c.Version,
			"api": "/admin/ (with `Authorization: Bearer <admin token>`)", "openapi": "/openapi.json", "health": "/health",
		})
	}
}

func health(c Config) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h := c.health()
		h.Version = c.Version
		if h.Providers == nil {
			h.Providers = map[string]ProviderHealth{}
		}
		writeJSON(w, http.StatusOK, h)
	}
}

// alive says that the process serves. It is no reason to send it work: see ready.
func alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func ready(c Config) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := c.ready(); err != nil {
			c.log().WarnContext(r.Context(), "not ready", "cause", err)
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready"})
			return
		}
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}
}

func describe(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(openAPI) // the client is gone: nobody is left to tell
}
