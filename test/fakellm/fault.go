package fakellm

import (
	"cmp"
	"net/http"
	"strconv"
	"time"
)

// fault is an error before it is put into a dialect's words.
type fault struct {
	status     int
	message    string // empty: what providers usually say with this status
	code       string // OpenAI's word for it, where its status alone does not tell
	retryAfter string
	resetIn    time.Duration
	resetAt    time.Time
	body       []byte // said instead of all the above
}

// scripted is the refusal that a key's behaviour asks for.
func (u *Upstream) scripted(b Behaviour) fault {
	f := fault{status: b.Status, retryAfter: b.RetryAfter, resetIn: b.ResetIn}
	if b.ResetIn > 0 {
		f.resetAt = u.cfg.Now().Add(b.ResetIn)
	}
	if b.Body != "" {
		f.body = []byte(b.Body)
	}
	return f
}

func notFound(model string) fault {
	return fault{status: http.StatusNotFound, message: "model '" + model + "' not found", code: "model_not_found"}
}

// embedded is the error that a key's behaviour puts into a 200.
func (x *exchange) embedded() fault {
	b := x.verdict.behaviour
	return fault{status: cmp.Or(b.ErrorCode, http.StatusBadGateway), retryAfter: b.RetryAfter}
}

// inBand is that error as JSON.
func (x *exchange) inBand() []byte {
	return orElse(x.verdict.behaviour.Body, string(x.errorBody(x.embedded())))
}

func (x *exchange) text(f fault) string {
	text := cmp.Or(f.message, usualMessage(f.status, x.u.cfg.Dialect))
	if x.u.cfg.Dialect == Ollama && x.shape != anthropicShape && !f.resetAt.IsZero() {
		text += ", it resets at " + f.resetAt.UTC().Format(time.RFC3339)
	}
	return text
}

func usualMessage(status int, dialect string) string {
	switch status {
	case http.StatusUnauthorized:
		return "unauthorized: invalid API key"
	case http.StatusPaymentRequired:
		if dialect == Ollama {
			return "you have reached your weekly usage limit"
		}
		return "insufficient credits"
	case http.StatusForbidden:
		if dialect == OpenRouter {
			// Its usual 403 is about the prompt, not about the key.
			return "Your input was flagged by moderation"
		}
		return "forbidden"
	case http.StatusTooManyRequests:
		return "rate limit exceeded"
	}
	return cmp.Or(http.StatusText(status), "status "+strconv.Itoa(status))
}

// resetHeader tells a reset in the header that the API or else the dialect has for
// it. Ollama has none.
func (x *exchange) resetHeader(h http.Header, f fault) {
	switch {
	case f.resetAt.IsZero():
	case x.shape == anthropicShape:
		h.Set("Anthropic-Ratelimit-Requests-Reset", f.resetAt.UTC().Format(time.RFC3339))
	case x.u.cfg.Dialect == OpenAI:
		h.Set("X-Ratelimit-Reset-Requests", f.resetIn.String())
	case x.u.cfg.Dialect == OpenRouter:
		h.Set("X-Ratelimit-Reset", strconv.FormatInt(f.resetAt.UnixMilli(), 10))
	}
}
