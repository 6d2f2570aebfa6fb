package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// corsPolicy says whose pages may call the API from a browser. Never with credentials: tokens are sent by the page itself.
type corsPolicy struct {
	all     bool
	origins []string
}

func newCORSPolicy(origins []string) corsPolicy {
	if origins == nil || slices.Contains(origins, "*") {
		return corsPolicy{all: true}
	}
	return corsPolicy{origins: origins}
}

const exposedHeaders = "X-Request-Id, Retry-After, X-Should-Retry, X-Generation-Id, Openai-Processing-Ms, " +
	"X-Ratelimit-Limit-Requests, X-Ratelimit-Remaining-Requests, X-Ratelimit-Reset-Requests, " +
	"X-Ratelimit-Limit-Tokens, X-Ratelimit-Remaining-Tokens, X-Ratelimit-Reset-Tokens, " +
	"X-Pool-Attempts, X-Pool-Key, X-Pool-Region, X-Pool-Cache"

// allow marks an answer as one that the asking page may read.
func (c corsPolicy) allow(to, from http.Header) {
	origin := from.Get("Origin")
	if !c.all {
		to.Add("Vary", "Origin")
	}
	switch {
	case origin == "":
		return
	case c.all:
		to.Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(c.origins, origin):
		to.Set("Access-Control-Allow-Origin", origin)
	default:
		return
	}
	to.Set("Access-Control-Expose-Headers", exposedHeaders)
}

// preflight answers OPTIONS. SDKs send headers of their own (x-stainless-…, anthropic-…), and new ones with each version,
// so those that are asked for are allowed, if they are header names at all.
func (c corsPolicy) preflight(x *exchange, rt *route) {
	h := x.w.Header()
	h.Set("Allow", rt.methods())
	if h.Get("Access-Control-Allow-Origin") != "" && x.r.Header.Get("Access-Control-Request-Method") != "" {
		h.Set("Access-Control-Allow-Methods", rt.methods())
		h.Set("Access-Control-Max-Age", "600")
		if names := headerNames(x.r.Header.Get("Access-Control-Request-Headers")); names != "" {
			h.Set("Access-Control-Allow-Headers", names)
		}
	}
	x.commit(http.StatusNoContent)
}

const (
	maxPreflightNames = 64
	maxPreflightName  = 64
)

// headerNames answers the list without what is no header name.
func headerNames(list string) string {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if isToken(name) && len(name) <= maxPreflightName && len(names) < maxPreflightNames {
			names = append(names, strings.ToLower(name))
		}
	}
	return strings.Join(names, ", ")
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c|0x20-'a' > 25 && c-'0' > 9 && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
