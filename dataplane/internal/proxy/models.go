package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

const (
	listTimeout = 30 * time.Second
	maxList     = 32 << 20
)

// models answers the provider's models.
func (p *Proxy) models(x *exchange) *problem {
	list, prob := p.lists.get(x)
	if prob != nil {
		return prob
	}
	body := list.body
	if len(x.token.Models) > 0 {
		body = only(body, "data", x.token.Models)
	}
	x.answer("application/json", body)
	return nil
}

// model answers one of the provider's models. One that the token may not use is not there.
func (p *Proxy) model(x *exchange) *problem {
	_, id, _ := strings.Cut(x.r.URL.Path, modelPath)
	list, prob := p.lists.get(x)
	if prob != nil {
		return prob
	}
	if raw := listed(list.body, id); raw != nil && provider.MatchModel(x.token.Models, id) {
		x.answer("application/json", raw)
		return nil
	}
	return problemNoModel
}

// tagsPath is where Ollama lists its models.
const tagsPath = "/api/tags"

// tags answers the provider's models as Ollama lists them: in its own words if it is one, else in ours.
func (p *Proxy) tags(x *exchange) *problem {
	list, prob := p.lists.get(x)
	if prob != nil {
		return prob
	}
	body := list.raw
	if x.up.dialect.ModelsPath() != tagsPath {
		body = asTags(list.body)
	}
	if len(x.token.Models) > 0 {
		body = only(body, "models", x.token.Models)
	}
	x.answer("application/json", body)
	return nil
}

// fetchModels asks with one key after another, like any request.
func (x *exchange) fetchModels() (answer listAnswer, prob *problem) {
	ctx := context.WithoutCancel(x.r.Context()) // others wait for the list too
	x.up.retries.arrive(x.p.now())
	allowed := newTries(x.prov, x.up.retries)
	for {
		l, prob := x.borrow(ctx)
		if prob != nil {
			return listAnswer{}, prob
		}
		answer, v := x.askModels(l)
		if v.Class == provider.OK {
			return answer, nil
		}
		x.met.add(v)
		if !allowed.another(v, x.p.now()) {
			return listAnswer{}, x.met.problem(nil)
		}
	}
}

// askModels asks for the list with one key, and settles it.
func (x *exchange) askModels(l loan) (answer listAnswer, v provider.Verdict) {
	var answered time.Duration
	v = provider.Verdict{Class: provider.LocalError}
	ctx, end := context.WithCancelCause(context.WithoutCancel(x.r.Context()))
	defer end(nil)
	var cut leases.Cut
	defer l.Unwatch(&cut)
	if !l.Watch(&cut, end) {
		l.Return()
		return answer, cutOff
	}
	defer func() {
		l.Settle(leases.Attempt{Verdict: v, FirstByte: answered})
		x.p.metrics.attempt(x.prov.ID, v.Class)
	}()
	x.attempts++
	x.lastKey = l.KeyID()
	start := x.p.now()
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	resp, body, secret, err := x.up.ask(ctx, question{ //nolint:bodyclose // ask has read and closed it
		method: http.MethodGet, path: x.up.dialect.ModelsPath(), limit: maxList, prov: x.prov, agent: x.p.agent, loan: l,
	})
	switch {
	case errors.Is(context.Cause(ctx), leases.ErrCut):
		return answer, cutOff
	case errors.Is(err, context.DeadlineExceeded):
		return answer, provider.Verdict{Class: provider.Timeout, Next: provider.Once}
	case err != nil:
		return answer, provider.Verdict{Class: provider.LocalError, Next: provider.Again}
	}
	answered = max(x.p.now().Sub(start), 1)
	if resp.StatusCode != http.StatusOK {
		v = x.up.dialect.Judge(resp.StatusCode, resp.Header, body, x.p.now())
		v.Message = redact(v.Message, secret, x.up.host, "")
		v.Type, v.Code, v.Param = "", "", ""
		return answer, v
	}
	list, err := x.up.dialect.Models(body)
	if err != nil || holds(body, []byte(secret)) {
		return answer, provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: resp.StatusCode}
	}
	answer.body, answer.raw = withAliases(list, "data", x.prov.ModelAliases), body
	if x.up.dialect.ModelsPath() == tagsPath {
		answer.raw = withAliases(body, "models", x.prov.ModelAliases)
	}
	return answer, provider.Verdict{Class: provider.OK, Status: resp.StatusCode}
}

// question is a small request of the pool's own, with a key.
type question struct {
	method, path string
	body         []byte
	limit        int64
	prov         *provider.Provider
	agent        string
	loan         loan
}

// ask sends a question and reads the answer, within the context's time and the question's limit.
func (up *upstream) ask(ctx context.Context, q question) (resp *http.Response, body []byte, secret string, err error) {
	u, err := url.Parse(up.dialect.URL(up.base, q.path))
	if err != nil {
		return nil, nil, "", errMisconfigured
	}
	h := http.Header{"User-Agent": {q.agent}, "Accept": {"application/json"}}
	req := &http.Request{Method: q.method, URL: u, Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	if q.body != nil {
		h["Content-Type"] = []string{"application/json"}
		req.Body, req.ContentLength = bodyOf(q.body), int64(len(q.body))
	}
	addProviderHeaders(h, q.prov)
	secret = authorize(h, up.dialect, q.loan)
	if resp, err = up.roundTrip(req.WithContext(ctx)); err != nil {
		return nil, nil, secret, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, q.limit))
	if err != nil && ctx.Err() != nil {
		return nil, nil, secret, ctx.Err()
	}
	return resp, body, secret, err
}
