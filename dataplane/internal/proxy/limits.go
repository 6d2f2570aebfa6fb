package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
)

// maxEstimate bounds what a body is thought to cost as long as no upstream has told: images are large and take few tokens.
const maxEstimate = 8 << 10

// meter counts the request in under its token's limits, before its body is read: one that is over them costs nothing.
func (x *exchange) meter() *problem {
	account := x.token.Account
	if account == nil {
		return nil
	}
	estimate := estimateInput(max(x.r.ContentLength, 0))
	a, left, denied := account.Admit(estimate)
	for late := x.p.now().Add(leases.AskWait); denied != nil && denied.Short && x.p.now().Before(late); { // others may take what comes
		if !x.p.book.Acquire(x.r.Context(), account.Name(), estimate) {
			break
		}
		a, left, denied = account.Admit(estimate)
	}
	tellLimits(x.w.Header(), x.token.Limits, left)
	if denied != nil {
		return problemTokenLimit(denied)
	}
	x.admission = a
	return nil
}

// settleLimits counts the request out, once: when its answer is about to end, so that a client that has seen the end finds its
// place free, or else when the exchange is over. One that no upstream was asked for has cost nothing.
func (x *exchange) settleLimits() {
	a := x.admission
	x.admission = capacity.Admission{}
	if x.attempts == 0 && !x.fromCache {
		a.Refund()
		return
	}
	a.Settle(x.usage.Input + x.usage.Output)
}

// estimateInput answers what a body of so many bytes is thought to take.
func estimateInput(bytes int64) uint64 { return min(estimateTokens(bytes), maxEstimate) }

// estimateTokens thinks of a token as four bytes.
func estimateTokens(bytes int64) uint64 { return uint64(bytes+3) / 4 }

// tellLimits tells the limits that there are, under the names that SDKs read.
func tellLimits(h http.Header, l capacity.Limits, left capacity.Allowance) {
	tell := func(limit, remaining, reset string, most, rest uint64, in time.Duration) {
		if most == 0 {
			return
		}
		h[limit] = []string{strconv.FormatUint(most, 10)}
		h[remaining] = []string{strconv.FormatUint(rest, 10)}
		h[reset] = []string{in.Round(time.Millisecond).String()}
	}
	tell("X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
		l.Most[capacity.Requests], left.Requests, left.RequestsIn)
	tell("X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
		l.Most[capacity.Tokens], left.Tokens, left.TokensIn)
}

// problemTokenLimit says which of the token's limits is in the way; that is nobody's failure but the client's. It must not
// speak of a quota: some SDKs give up then.
func problemTokenLimit(d *capacity.Denial) *problem {
	if d.Limit.Budget() {
		return &problem{
			status: http.StatusTooManyRequests, typ: "insufficient_quota", code: "insufficient_quota", wait: maxRetryAfter, end: leases.EndClientError,
			final: true, message: fmt.Sprintf("This API key has used up its budget of %d %s.", d.Most, d.Limit),
		}
	}
	p := &problem{
		status: http.StatusTooManyRequests, typ: typeLimit, code: "rate_limit_exceeded", wait: d.Wait, end: leases.EndClientError,
		message: fmt.Sprintf("This API key is limited to %d %s.", d.Most, d.Limit),
	}
	if d.Wait == 0 {
		p.wait = minRetryAfter
	}
	return p
}
