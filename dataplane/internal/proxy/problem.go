package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// problem is an answer in the pool's own words; errorshape.go writes it as the client's API has it. None of them holds an
// upstream's address, a key, or anything of the inside.
type problem struct {
	status           int
	typ, code, param string
	message          string
	wait             time.Duration // 429 and 503: until another try may succeed; 0: not known
	final            bool          // another try is pointless; SDKs would make two to six
	allow            string        // 405
	end              leases.End
	unknownCaller    bool
}

const (
	typeRequest    = "invalid_request_error"
	typePermission = "permission_error"
	typeLimit      = "rate_limit_error"
	typeServer     = "server_error"
)

// Retry-After is kept within what SDKs may be made to sleep; they take it by its word.
const (
	minRetryAfter     = time.Second
	maxRetryAfter     = time.Minute
	defaultRetryAfter = 5 * time.Second
)

func clientError(status int, code, message string) *problem {
	return &problem{status: status, typ: typeRequest, code: code, message: message, end: leases.EndClientError}
}

func unavailable(code, message string, wait time.Duration, final bool) *problem {
	return &problem{
		status: http.StatusServiceUnavailable, typ: typeServer, code: code, message: message, wait: wait, final: final,
		end: leases.EndUnavailable,
	}
}

func badGateway(status int, code, message string) *problem {
	return &problem{status: status, typ: typeServer, code: code, message: message, end: leases.EndUpstreamError}
}

// The problems that need nothing but their words.
var (
	problemNotFound = clientError(http.StatusNotFound, "not_found", "There is nothing at this path.")
	// One text for unknown, expired, revoked and malformed: which it is would help only those who guess.
	problemUnauthorized = &problem{
		status: http.StatusUnauthorized, typ: typeRequest, code: "invalid_api_key", unknownCaller: true,
		message: "The API key is missing or not valid.", end: leases.EndClientError,
	}
	problemTwoCredentials = clientError(http.StatusBadRequest, "ambiguous_credentials", "The request carries more than one API key.")
	problemEncoding       = clientError(http.StatusUnsupportedMediaType, "unsupported_encoding", "The body must not be compressed.")
	problemContentType    = clientError(http.StatusUnsupportedMediaType, "unsupported_media_type", "The body must be JSON (Content-Type: application/json).")
	problemMalformed      = clientError(http.StatusBadRequest, "invalid_json", "The body is not valid JSON.")
	problemNotObject      = clientError(http.StatusBadRequest, "invalid_json", "The body must be a JSON object.")
	problemTooDeep        = clientError(http.StatusBadRequest, "invalid_json", "The body is nested too deeply.")
	problemBodyRead       = clientError(http.StatusBadRequest, "incomplete_body", "The body could not be read to its end.")
	problemSlowBody       = clientError(http.StatusRequestTimeout, "slow_body", "The body did not arrive in time.")
	problemNoModel        = clientError(http.StatusNotFound, provider.ModelNotFound, "There is no such model at this provider.")
	problemForbiddenModel = &problem{
		status: http.StatusForbidden, typ: typePermission, code: "model_forbidden", end: leases.EndClientError,
		message: "The provider does not let any upstream key use the model.",
	}
	problemMisconfigured = final(badGateway(http.StatusBadGateway, "upstream_misconfigured", "The provider's address is not usable; this is for the operator to mend."))
	problemBusy          = unavailable("overloaded", "Too many large requests are under way; try again soon.", time.Second, false)
	problemDraining      = unavailable("draining", "This node takes no new requests at the moment.", time.Second, false)
	problemAllRefused    = unavailable("upstream_credentials_exhausted", "No upstream key of the provider can be used at the moment.", 30*time.Second, true)
)

func final(p *problem) *problem {
	p.final = true
	return p
}

func problemMethod(allow string) *problem {
	p := clientError(http.StatusMethodNotAllowed, "method_not_allowed", "This method is not allowed here.")
	p.allow = allow
	return p
}

func problemBody(param, message string) *problem {
	p := clientError(http.StatusBadRequest, "invalid_parameter", message)
	p.param = param
	return p
}

func problemTooLarge(limit int64) *problem {
	return clientError(http.StatusRequestEntityTooLarge, "request_too_large", fmt.Sprintf("The body is larger than %d bytes.", limit))
}

func problemTooManyFailures(wait time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, typ: typeLimit, code: "too_many_failed_logins", wait: wait, unknownCaller: true,
		message: "Too many requests from this address had no valid API key.", end: leases.EndLimited,
	}
}

func problemNotAllowed(err error) *problem {
	p := clientError(http.StatusForbidden, "not_allowed", "This API key may not be used for that: "+err.Error()+".")
	p.typ = typePermission
	return p
}

func problemDisabled(providerID string) *problem {
	return unavailable("provider_disabled", "The provider "+providerID+" is disabled.", maxRetryAfter, true)
}

// problemNotReady says that the node may not serve, or cannot tell whether it may; err is one of the texts of leases.
func problemNotReady(err error) *problem {
	return unavailable("node_not_ready", "Not available: "+err.Error()+".", defaultRetryAfter, false)
}

func problemInternal(requestID string) *problem {
	return &problem{
		status: http.StatusInternalServerError, typ: typeServer, code: "internal_error", end: leases.EndUpstreamError,
		message: "Something went wrong inside the pool. Its log tells more under " + requestID + ".",
	}
}

func problemLimited(wait time.Duration) *problem {
	return &problem{
		status: http.StatusTooManyRequests, typ: typeLimit, code: "rate_limit_exceeded", wait: wait, end: leases.EndLimited,
		final: wait > maxRetryAfter, message: "All upstream keys are being rate limited." + inWords(wait),
	}
}

func problemQuota(wait time.Duration) *problem {
	if wait == 0 {
		wait = maxRetryAfter
	}
	return unavailable("upstream_quota_exhausted", "The upstream keys have used up what they may use."+inWords(wait), wait, wait > maxRetryAfter)
}

// inWords tells a wait that is longer than Retry-After may say.
func inWords(wait time.Duration) string {
	if wait <= maxRetryAfter {
		return ""
	}
	return " The first of them recovers in " + wait.Round(time.Second).String() + "."
}

func problemNoKey(cause string) *problem {
	switch cause {
	case leases.CauseNone:
		return unavailable("no_upstream_keys", "This provider has no keys here.", maxRetryAfter, true)
	case leases.CauseModel:
		return clientError(http.StatusNotFound, provider.ModelNotFound, "No upstream key of this provider serves the model.")
	case leases.CauseForbidden:
		return problemForbiddenModel
	case leases.CauseOut:
		return problemAllRefused
	default:
		return unavailable("no_upstream_key", "No upstream key is free at the moment.", time.Second, false)
	}
}

// problemOf is what the client is told of a try that was the last.
func problemOf(v provider.Verdict) *problem {
	switch v.Class {
	case provider.ClientError, provider.Forbidden:
		return problemOfClient(v)
	case provider.RateLimited:
		return problemLimited(v.RetryAfter)
	case provider.Quota:
		return problemQuota(v.RetryAfter)
	case provider.AuthRejected:
		return problemAllRefused
	case provider.Timeout:
		return badGateway(http.StatusGatewayTimeout, "upstream_timeout", "The provider did not answer in time.")
	case provider.Broken:
		return badGateway(http.StatusBadGateway, "upstream_error", "The provider's answer was broken.")
	case provider.ServerError:
		if v.Status == http.StatusServiceUnavailable || v.Status == statusOverloaded {
			return unavailable("upstream_unavailable", "The provider is not available."+inWords(v.RetryAfter), v.RetryAfter, v.RetryAfter > maxRetryAfter)
		}
		return badGateway(http.StatusBadGateway, "upstream_error", "The provider failed.")
	}
	switch {
	case v.Status == 0:
		return badGateway(http.StatusBadGateway, "upstream_unreachable", "The provider cannot be reached.")
	case v.Status < 400:
		return problemMisconfigured
	default: // 402 of this request only, 408, 409, 425
		return unavailable("upstream_unavailable", "The provider did not take the request."+inWords(v.RetryAfter), v.RetryAfter, v.RetryAfter > maxRetryAfter)
	}
}

// statusOverloaded is what some providers answer instead of 503.
const statusOverloaded = 529

// problemOfClient tells the upstream's own status and words, which are redacted already.
func problemOfClient(v provider.Verdict) *problem {
	p := clientError(v.Status, v.Code, v.Message)
	p.param = v.Param
	switch {
	case v.Type != "":
		p.typ = v.Type
	case v.Status == http.StatusForbidden:
		p.typ = typePermission
	}
	if p.message == "" {
		p.message = "The provider refused the request: " + http.StatusText(v.Status) + "."
	}
	return p
}

// headersAndBody is the whole answer, in the words of the API that the client speaks.
func (p *problem) headersAndBody(h http.Header, api *clientAPI) []byte {
	body := api.errorBody(p)
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if p.status == http.StatusTooManyRequests || p.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(p.retryAfterSeconds()))
	}
	if p.final {
		h.Set("X-Should-Retry", "false")
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	return body
}

// retryAfterSeconds rounds up: who waits as told must not be early.
func (p *problem) retryAfterSeconds() int {
	wait := p.wait
	if wait <= 0 {
		wait = defaultRetryAfter
	}
	wait = min(max(wait, minRetryAfter), maxRetryAfter)
	return int((wait + time.Second - 1) / time.Second)
}
