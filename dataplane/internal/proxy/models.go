package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
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
	body, prob := p.lists.get(x)
	if prob != nil {
		return prob
	}
	if len(x.token.Models) > 0 {
		body = onlyAllowed(body, x.token.Models)
	}
	x.answer("application/json", body)
	return nil
}

// fetchModels asks with one key after another, like any request.
func (x *exchange) fetchModels() ([]byte, *problem) {
	x.up.retries.arrive(x.p.now())
	allowed := newTries(x.prov, x.up.retries)
	for {
		l, prob := x.borrow()
		if prob != nil {
			return nil, prob
		}
		body, v := x.askModels(l)
		if v.Class == provider.OK {
			return body, nil
		}
		x.met.add(v)
		if !allowed.another(v, x.p.now()) {
			return nil, x.met.problem(nil)
		}
	}
}

// askModels asks for the list with one key, and settles it.
func (x *exchange) askModels(l loan) (list []byte, v provider.Verdict) {
	var answered time.Duration
	v = provider.Verdict{Class: provider.LocalError}
	defer func() {
		l.Settle(leases.Attempt{Verdict: v, FirstByte: answered})
		x.p.metrics.attempt(x.prov.ID, v.Class)
	}()
	x.attempts++
	x.lastKey = l.KeyID()
	start := x.p.now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), listTimeout)
	defer cancel()
	resp, body, secret, err := x.up.ask(ctx, question{ //nolint:bodyclose // ask has read and closed it
		method: http.MethodGet, path: x.up.dialect.ModelsPath(), limit: maxList, prov: x.prov, agent: x.p.agent, loan: l,
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, provider.Verdict{Class: provider.Timeout, Next: provider.Once}
	case err != nil:
		return nil, provider.Verdict{Class: provider.LocalError, Next: provider.Again}
	}
	answered = max(x.p.now().Sub(start), 1)
	if resp.StatusCode != http.StatusOK {
		v = x.up.dialect.Judge(resp.StatusCode, resp.Header, body, x.p.now())
		v.Message = redact(v.Message, secret, x.up.host, "")
		v.Type, v.Code, v.Param = "", "", ""
		return nil, v
	}
	if list, err = x.up.dialect.Models(body); err != nil || holds(list, secret) {
		return nil, provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: resp.StatusCode}
	}
	return list, provider.Verdict{Class: provider.OK, Status: resp.StatusCode}
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

// onlyAllowed is the list without the models that a token may not use.
func onlyAllowed(list []byte, patterns []string) []byte {
	var all struct {
		Object string            `json:"object"`
		Data   []json.RawMessage `json:"data"`
	}
	if json.Unmarshal(list, &all) != nil {
		return list
	}
	kept := make([]json.RawMessage, 0, len(all.Data))
	for _, raw := range all.Data {
		var m struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(raw, &m) == nil && provider.MatchModel(patterns, m.ID) {
			kept = append(kept, raw)
		}
	}
	all.Data = kept
	body, err := json.Marshal(all)
	if err != nil { // what was decoded encodes
		panic(err)
	}
	return body
}
