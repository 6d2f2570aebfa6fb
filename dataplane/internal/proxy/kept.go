package proxy

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"ollama-api-pool/dataplane/internal/answers"
	"ollama-api-pool/dataplane/internal/leases"
)

// keptByDefault is for how long answers are kept if only the token says that they are.
const keptByDefault = 300 * time.Second

// keepFor answers for how long the answer to this request may be kept; 0: not at all. Only whole answers are, of questions
// that cost tokens, and only if an operator says so of the provider or of the token.
func (x *exchange) keepFor() time.Duration {
	ttl, wanted := x.prov.CacheTTL, x.prov.CacheTTL > 0
	if x.token.Cache != nil {
		wanted = *x.token.Cache
	}
	switch {
	case !wanted || x.stream || x.route.tokens == noTokens:
		return 0
	case ttl <= 0:
		return keptByDefault
	default:
		return ttl
	}
}

// answerFromKept answers from what is kept, or notes under which key the upstream's answer may be.
func (x *exchange) answerFromKept() bool {
	if x.keepFor() == 0 {
		return false
	}
	key, ok := answers.Question{
		Tenant: x.token.Tenant, Token: x.token.ID, Provider: x.prov.ID, Revision: x.prov.Revision, Path: x.route.path,
		Headers: tellingHeaders(x.r.Header), Body: x.body,
	}.Key()
	if !ok {
		return false
	}
	kept, miss := x.p.answers.Get(key, x.p.now())
	if kept == nil {
		x.miss, x.kept = miss, "miss"
		return false
	}
	x.fromCache, x.kept, x.end = true, "hit", leases.EndOK
	x.settleLimits() // before the client sees the end
	x.answer(kept.ContentType, kept.Body)
	return true
}

// keep keeps a complete answer under the key that answerFromKept has noted; if it noted none, nothing is kept.
func (x *exchange) keep(contentType string, body []byte) {
	x.p.answers.Put(x.miss, answers.Answer{ContentType: contentType, Body: body}, x.keepFor(), x.p.now())
}

// tellingHeaders are those that go upstream and may change an answer.
func tellingHeaders(from http.Header) []answers.Header {
	var list []answers.Header
	for _, name := range slices.Sorted(maps.Keys(from)) {
		if name == "Accept" || name == "Accept-Language" || strings.HasPrefix(name, "Openai-") || strings.HasPrefix(name, "Anthropic-") {
			for _, value := range from[name] {
				list = append(list, answers.Header{Name: name, Value: value})
			}
		}
	}
	return list
}

// Forget drops the answers and lists of models of these providers, or of all if none is named.
func (p *Proxy) Forget(providers []string) {
	p.lists.forget(providers)
	p.answers.Clear(providers...)
}

// Caches answers what is kept of each provider, and how it served.
func (p *Proxy) Caches() []leases.CacheStatus {
	gone := func(id string) bool {
		_, known := p.book.Provider(id)
		return !known
	}
	list := p.lists.kept(gone)
	for _, s := range p.answers.Status(p.now(), gone) {
		at, found := slices.BinarySearchFunc(list, s.Provider, func(c leases.CacheStatus, id string) int { return strings.Compare(c.Provider, id) })
		if !found {
			list = slices.Insert(list, at, leases.CacheStatus{Provider: s.Provider})
		}
		c := &list[at]
		c.Answers, c.AnswerBytes, c.AnswerHits, c.AnswerMisses = s.Answers, s.Bytes, s.Hits, s.Misses
	}
	return list
}
