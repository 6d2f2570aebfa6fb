package proxy

import (
	"net/http"
	"strings"

	"ollama-api-pool/dataplane/internal/provider"
)

// passesUp is the allow-list of request headers. Everything else stays here: the client's credential, cookies, where it
// comes from, and whatever nobody has thought of yet.
func passesUp(name string) bool {
	switch name {
	case "Accept", "Accept-Language", "Content-Type", "Http-Referer", "Idempotency-Key", "User-Agent", "X-Title":
		return true
	default:
		return strings.HasPrefix(name, "Openai-") || strings.HasPrefix(name, "Anthropic-")
	}
}

// upHeaders are the headers that go upstream, but for the key.
func upHeaders(from http.Header, prov *provider.Provider, agent string, withBody bool) http.Header {
	h := make(http.Header, 8)
	for name, values := range from {
		if passesUp(name) {
			h[name] = values
		}
	}
	if t := h.Get("Content-Type"); withBody && (t == "" || t == curlDefault) {
		h["Content-Type"] = []string{"application/json"}
	}
	if h.Get("User-Agent") == "" {
		h["User-Agent"] = []string{agent}
	}
	addProviderHeaders(h, prov)
	return h
}

// addProviderHeaders sets what the operator wants this provider to be sent. Framing and routing are not the operator's.
func addProviderHeaders(h http.Header, prov *provider.Provider) {
	for name, value := range prov.Headers {
		switch http.CanonicalHeaderKey(name) {
		case "Host", "Connection", "Content-Length", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Accept-Encoding":
		default:
			h.Set(name, value)
		}
	}
}

// authorize puts the key where the upstream looks for it, and answers it so that what comes back can be searched for it.
// It is the only place that reveals a key.
func authorize(h http.Header, d provider.Dialect, l loan) (secret string) {
	secret = l.Secret().Reveal()
	d.Authorize(h, secret)
	return secret
}

// passesDown is the allow-list of response headers.
var passesDown = [...]string{"Content-Type", "X-Generation-Id", "Openai-Processing-Ms"}

func downHeaders(to, from http.Header, secret string) {
	for _, name := range passesDown {
		value := from.Get(name)
		if value == "" || secret != "" && strings.Contains(value, secret) {
			continue
		}
		to[name] = []string{value}
	}
}

// exposeRoute tells how a request was served, if the operator wants that told.
func (x *exchange) exposeRoute() {
	h := x.w.Header()
	h.Set("X-Pool-Attempts", itoa(x.attempts))
	if x.p.region != "" {
		h.Set("X-Pool-Region", x.p.region)
	}
	if x.attempts > 0 {
		h.Set("X-Pool-Key", x.lastKey.String())
	}
	if x.kept != "" {
		h.Set("X-Pool-Cache", x.kept)
	}
}
