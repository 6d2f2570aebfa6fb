package fakellm

import (
	"encoding/json"
	"net/http"
	"strconv"
)

type openAIError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

type openRouterError struct {
	Code     int            `json:"code"`
	Message  string         `json:"message"`
	Metadata map[string]any `json:"metadata,omitempty"`
}

type anthropicError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// shape is in whose form a path tells its errors.
type shape int

const (
	dialectShape   shape = iota // as the dialect does at /v1
	anthropicShape              // an object of two members, whatever the dialect
	ollamaShape                 // a string: Ollama's own API
)

func (x *exchange) errorBody(f fault) []byte {
	text := x.text(f)
	switch x.shape {
	case anthropicShape:
		return mustJSON(struct {
			Type      string         `json:"type"`
			Error     anthropicError `json:"error"`
			RequestID string         `json:"request_id"`
		}{"error", anthropicError{f.anthropicKind(), text}, "req_" + strconv.FormatInt(x.seq, 10)})
	case ollamaShape:
		return mustJSON(map[string]string{"error": text})
	}
	switch x.u.cfg.Dialect {
	case OpenRouter:
		return mustJSON(map[string]any{"error": openRouterError{f.status, text, f.metadata()}})
	case OpenAI:
		kind, code := f.openAIKind()
		e := openAIError{Message: text, Type: kind}
		if code != "" {
			e.Code = &code
		}
		return mustJSON(map[string]any{"error": e})
	}
	return mustJSON(map[string]any{"error": openAIError{Message: text, Type: "api_error"}})
}

func (f fault) openAIKind() (kind, code string) {
	switch {
	case f.status == http.StatusUnauthorized:
		return "invalid_request_error", "invalid_api_key"
	case f.status == http.StatusPaymentRequired:
		return "insufficient_quota", "insufficient_quota"
	case f.status == http.StatusTooManyRequests:
		return "requests", "rate_limit_exceeded"
	case f.status >= 500:
		return "server_error", f.code
	}
	return "invalid_request_error", f.code
}

func (f fault) anthropicKind() string {
	switch f.status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusPaymentRequired:
		return "billing_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable, 529:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if f.status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

func (f fault) metadata() map[string]any {
	m := map[string]any{}
	if told, ok := parseRetryAfter(f.retryAfter); ok && told.at.IsZero() {
		m["retry_after_seconds"] = told.wait.Seconds()
	}
	if !f.resetAt.IsZero() {
		m["headers"] = map[string]string{"X-RateLimit-Reset": strconv.FormatInt(f.resetAt.UnixMilli(), 10)}
	}
	if f.status == http.StatusForbidden {
		m["reasons"] = []string{"flagged"}
	}
	if f.status >= 500 {
		m["provider_name"] = "Pretend"
	}
	return m
}

// mustJSON is for values of this package, which always encode.
func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("fakellm: " + err.Error())
	}
	return data
}
