package provider

import (
	"net/http"
	"time"
)

// rules is where dialects differ in what an error means.
type rules struct {
	// forbiddenIsContent: a 403 is about what was said (moderation, a guardrail) and names neither key nor model.
	forbiddenIsContent bool
}

// More of what upstreams say; see words.go.
var (
	modelWords = []string{
		"model_not_allowed", "model_access", "requires a subscription", "upgrade for access", "not have access to",
		"not allowed to use", "not allowed to access", "not available on your plan", "not included in your",
	}
	lostModelWords = []string{
		"model_not_found", "no endpoints found", "not a valid model", "unknown model", "no such model",
	}
	tooDearWords = []string{"fewer max_tokens", "can only afford"}
)

// judge is the verdict table: what a response that is not a 200 means.
func (r rules) judge(status int, h http.Header, b *errorBody, now time.Time) Verdict {
	v := Verdict{Status: status, Message: b.message, Type: b.typ, Code: b.code, Param: b.param}
	v.RetryAfter = retryAfter(h, b, now)
	switch {
	case status >= 200 && status < 300:
		v.Class = OK
	case status >= 300 && status < 400:
		v.Class = LocalError // misconfigured; never followed with a credential, and the next key would meet the same
	case status == http.StatusUnauthorized:
		v.Class, v.Next = AuthRejected, OtherKey
	case status == http.StatusPaymentRequired:
		v.paymentRequired(b)
	case status == http.StatusForbidden:
		v.forbidden(b, r)
	case status == http.StatusNotFound:
		v.notFound(b)
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		v.Class, v.Next = LocalError, Again // about this moment, not about the key
	case status == http.StatusTooManyRequests:
		v.tooMany(b)
	case status >= 400 && status < 500:
		v.Class = ClientError
	default: // 5xx, 529, and numbers that are no status
		v.Class, v.Next = ServerError, Again
	}
	return v
}

func (v *Verdict) paymentRequired(b *errorBody) {
	if b.says(tooDearWords...) {
		// This request asks for more than the key has left. Held against the key, one client asking for a million tokens
		// would bench the whole pool.
		v.Class, v.Next = LocalError, Again
		return
	}
	v.Class, v.Next = Quota, OtherKey
}

func (v *Verdict) forbidden(b *errorBody, r rules) {
	switch {
	case b.says(contentWords...):
		v.Class = Forbidden
	case b.says(quotaWords...):
		v.Class, v.Next = Quota, OtherKey
	case r.forbiddenIsContent:
		v.Class = Forbidden
	case b.says(keyWords...):
		v.Class, v.Next = AuthRejected, OtherKey
	case b.says(modelWords...):
		v.Class, v.Next, v.ModelOnly = Forbidden, Again, true
	default:
		v.Class, v.Next, v.ModelOnly = Forbidden, Once, true
	}
}

func (v *Verdict) notFound(b *errorBody) {
	v.Class = ClientError
	if b.says(lostModelWords...) || (b.says("model") && b.says("not found", "does not exist")) {
		v.Code = ModelNotFound
	}
}

// ModelNotFound is the Code of a verdict about a model that the upstream does not have.
const ModelNotFound = "model_not_found"

func (v *Verdict) tooMany(b *errorBody) {
	v.Next = OtherKey
	if b.says(quotaWords...) {
		v.Class = Quota
		return
	}
	v.Class = RateLimited
	// OpenRouter passes on the limits of the provider behind it, which are the model's and not the key's.
	v.ModelOnly = b.says("rate-limited upstream", "rate limited upstream")
}

// embedded is the verdict on an error inside a 200.
func (r rules) embedded(b *errorBody, now time.Time) Verdict {
	status := b.status
	if status == 0 {
		status = b.statusOfWord()
	}
	if status < 400 || status >= 500 {
		v := Verdict{Class: Broken, Next: Again, Status: status, Message: b.message, Type: b.typ, Code: b.code}
		v.RetryAfter = b.retryAfter(now)
		return v
	}
	return r.judge(status, http.Header{}, b, now)
}

// statusOfWord answers the status that goes with an error's code or type; 0: it tells none.
func (b *errorBody) statusOfWord() int {
	switch {
	case b.is("invalid_api_key", "authentication_error", "unauthorized"):
		return http.StatusUnauthorized
	case b.is("insufficient_quota", "billing_error"):
		return http.StatusPaymentRequired
	case b.is("permission_error", "permission_denied", "forbidden"):
		return http.StatusForbidden
	case b.is("model_not_found", "not_found_error"):
		return http.StatusNotFound
	case b.is("rate_limit_exceeded", "rate_limit_error", "too_many_requests"):
		return http.StatusTooManyRequests
	case b.is("context_length_exceeded", "invalid_request_error", "invalid_request"):
		return http.StatusBadRequest
	default:
		return 0
	}
}
