package provider

import (
	"net/http"
	"strings"
	"time"
)

// rules is where dialects differ in what an error means.
type rules struct {
	// forbiddenIsContent: a 403 is about what was said (moderation, a guardrail) and names neither key nor model.
	forbiddenIsContent bool
}

// judge is the verdict table: what a response that is not a 200 means.
func (r rules) judge(status int, h http.Header, b *errorBody, now time.Time) Verdict {
	v := Verdict{Status: status, Message: b.message, Type: b.typ, Code: b.code, Param: b.param}
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
	v.wait(h, b, now)
	return v
}

// wait reads for how long to wait, where waiting may help. When a limit ends is told beside all answers by some, and means
// something only if the limit was met.
func (v *Verdict) wait(h http.Header, b *errorBody, now time.Time) {
	switch v.Class {
	case RateLimited, Quota:
		v.RetryAfter = retryAfter(h, b, limitReset(h, now), now)
	case ServerError, LocalError, Broken:
		v.RetryAfter = retryAfter(h, b, 0, now)
	}
}

func (v *Verdict) paymentRequired(b *errorBody) {
	if b.says(tooDearWords...) {
		v.Class, v.Next = LocalError, Again
		return
	}
	v.Class, v.Next = Quota, OtherKey
}

func (v *Verdict) forbidden(b *errorBody, r rules) {
	switch {
	case b.says(contentWords...), b.ofContent():
		v.Class = Forbidden
	case !r.forbiddenIsContent && b.says(modelWords...): // before the words that bench a key: a model's name may be any words
		v.Class, v.Next, v.ModelOnly = Forbidden, Again, true
	case b.itselfSays(quotaWords...):
		v.Class, v.Next = Quota, OtherKey
	case r.forbiddenIsContent:
		v.Class = Forbidden
	case b.rejectsKey():
		v.Class, v.Next = AuthRejected, OtherKey
	default:
		v.Class, v.Next, v.ModelOnly = Forbidden, Once, true
	}
}

func (v *Verdict) notFound(b *errorBody) {
	v.Class = ClientError
	if b.says(lostModelWords...) || b.is("not_found_error") && strings.HasPrefix(b.message, "model:") ||
		b.says("model") && b.says("not found", "does not exist", "not supported", "no longer available", "decommissioned") {
		v.Code = ModelNotFound
	}
}

// ModelNotFound is the Code of a verdict about a model that the upstream does not have.
const ModelNotFound = "model_not_found"

func (v *Verdict) tooMany(b *errorBody) {
	switch {
	case b.ofProvider(), b.says(sharedLimitWords...):
		// The limit is the model's and not the key's, which stays in use: to ask with all keys in turn, at no cost, would
		// make eight calls of one.
		v.Class, v.Next, v.ModelOnly = RateLimited, Again, true
	case b.says(tooLargeWords...):
		v.Class, v.Next = LocalError, Again
	case b.itselfSays(quotaWords...):
		v.Class, v.Next = Quota, OtherKey
	default:
		v.Class, v.Next = RateLimited, OtherKey
	}
}
