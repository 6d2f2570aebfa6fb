package provider

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// embedded is the verdict on an error inside a 200.
func (r rules) embedded(b *errorBody, now time.Time) Verdict {
	status := cmp.Or(b.status, b.statusOfWord(), b.statusOfWords(), b.statusOfServer())
	if status < 400 || status >= 500 {
		v := Verdict{Class: Broken, Next: Again, Status: status, Message: b.message, Type: b.typ, Code: b.code}
		v.wait(nil, b, now)
		return v
	}
	return r.judge(status, nil, b, now)
}

// statusOfWord answers the status that goes with an error's code or type; 0: it tells none.
func (b *errorBody) statusOfWord() int {
	switch {
	case b.is("invalid_api_key", "authentication_error", "unauthorized", "unauthenticated", "account_deactivated"):
		return http.StatusUnauthorized
	case b.is("insufficient_quota", "billing_error", "exceeded_current_quota_error", "billing_not_active"):
		return http.StatusPaymentRequired
	case b.is("permission_error", "permission_denied", "forbidden"):
		return http.StatusForbidden
	case b.is("model_not_found", "not_found_error"):
		return http.StatusNotFound
	case b.is("request_too_large"):
		return http.StatusRequestEntityTooLarge
	case b.is("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"):
		return http.StatusTooManyRequests
	case b.is("context_length_exceeded", "invalid_request_error", "invalid_request", "invalid_prompt", "invalid_argument",
		"content_policy_violation", "content_filter"):
		return http.StatusBadRequest
	default:
		return 0
	}
}

// statusOfServer answers the status of a word that says no more than whose fault it was. Ollama says api_error of all.
func (b *errorBody) statusOfServer() int {
	switch {
	case b.is("timeout_error"):
		return http.StatusGatewayTimeout
	case b.is("overloaded_error"):
		return statusOverloaded
	case b.is("api_error", "server_error", "internal_error"):
		return http.StatusInternalServerError
	default:
		return 0
	}
}

// statusOverloaded is what some answer instead of a 503.
const statusOverloaded = 529

// How the errors begin that come as a bare text within a 200, as Ollama's do. Only the beginning counts: further on, an
// answer that could not be made sense of may be quoted, and that is as a client had it written.
var (
	beginsLimited = regexp.MustCompile(`(?i)^(?:rate limit|too many (?:concurrent )?requests)`)
	beginsUsedUp  = regexp.MustCompile(`(?i)^you(?:'ve| have)?(?: \([^)]{1,100}\))?(?: have)? (?:reached|exceeded|hit) your (?:\w+ )?usage limit`)
	beginsUnknown = regexp.MustCompile(`(?i)^(?:unauthorized$|unauthorized: |invalid api key)`)
)

// statusOfWords answers the status that goes with a text; 0: it tells none.
func (b *errorBody) statusOfWords() int {
	switch {
	case beginsUsedUp.MatchString(b.message), beginsLimited.MatchString(b.message):
		return http.StatusTooManyRequests
	case beginsUnknown.MatchString(b.message):
		return http.StatusUnauthorized
	case strings.HasPrefix(b.message, "this model requires a subscription"):
		return http.StatusForbidden
	case strings.HasPrefix(b.message, "model ") && strings.HasSuffix(b.message, " not found"):
		return http.StatusNotFound
	case b.says(tooLongWords...):
		return http.StatusBadRequest
	default:
		return 0
	}
}
