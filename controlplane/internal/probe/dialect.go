package probe

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const chatPath = "/v1/chat/completions"

// dialect is how a family of upstreams is asked about keys.
type dialect struct {
	check        question // the cheapest question that only a good key is answered
	goodToo      []int    // statuses that a good key gets besides 2xx: it was looked at before the body
	listPath     string
	listIsPublic bool // that it answers proves nothing about the key
	contentOnly  bool // a 403 is about what was said, and names neither key nor model
}

// emptyChat asks for a chat completion of nothing: it costs no token.
var emptyChat = question{method: http.MethodPost, path: chatPath, body: []byte("{}")}

// dialects are all that a provider can have; the data planes know the same.
var dialects = map[string]dialect{
	"ollama": {
		check: emptyChat, goodToo: []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
		listPath: "/api/tags", listIsPublic: true,
	},
	"openai": {
		check: emptyChat, goodToo: []int{http.StatusBadRequest, http.StatusUnprocessableEntity},
		listPath: "/v1/models",
	},
	"openrouter": {
		check:    question{method: http.MethodGet, path: "/v1/key"},
		listPath: "/v1/models", listIsPublic: true, contentOnly: true,
	},
}

// judge says what the answer to the check means.
func (d dialect) judge(status int, h http.Header, body []byte, now time.Time) Answer {
	switch {
	case slices.Contains(d.goodToo, status) && !isPage(body):
		return Answer{Finding: Good}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return Answer{Reason: Misconfigured}
	default:
		return d.judgeChat(status, h, body, now)
	}
}

// judgeChat says what the answer to a request means, whatever it asked for.
func (d dialect) judgeChat(status int, h http.Header, body []byte, now time.Time) Answer {
	switch {
	case status >= 200 && status < 300:
		if !isAnswer(body) {
			return Answer{Reason: BrokenAnswer}
		}
		return Answer{Finding: Good}
	case status >= 300 && status < 400: // never followed with a credential
		return Answer{Reason: Misconfigured}
	case status == http.StatusUnauthorized:
		return Answer{Finding: Rejected, Reason: AuthRejected}
	case status == http.StatusPaymentRequired:
		return limited(QuotaExhausted, h, now)
	case status == http.StatusForbidden:
		return d.forbidden(h, body, now)
	case status == http.StatusTooManyRequests && says(body, quotaWords):
		return limited(QuotaExhausted, h, now)
	case status == http.StatusTooManyRequests:
		return limited(RateLimited, h, now)
	case status >= 400 && status < 500:
		return Answer{Reason: Forbidden}
	default:
		return Answer{Reason: ServerError}
	}
}

func (d dialect) forbidden(h http.Header, body []byte, now time.Time) Answer {
	switch {
	case says(body, contentWords):
		return Answer{Reason: Forbidden}
	case says(body, quotaWords):
		return limited(QuotaExhausted, h, now)
	case d.contentOnly, !says(body, keyWords) && !putOut.MatchString(strings.ToLower(string(body))):
		return Answer{Reason: Forbidden}
	default:
		return Answer{Finding: Rejected, Reason: AuthRejected}
	}
}

func limited(why Reason, h http.Header, now time.Time) Answer {
	return Answer{Finding: Limited, Reason: why, RetryAfter: retryAfter(h.Get("Retry-After"), now)}
}

// retryAfter reads seconds, fractions included, or a date.
func retryAfter(s string, now time.Time) time.Duration {
	const longest = 30 * 24 * time.Hour
	if n, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && n > 0 && n < longest.Seconds() {
		return time.Duration(n * float64(time.Second))
	}
	if t, err := http.ParseTime(s); err == nil {
		return min(max(t.Sub(now), 0), longest)
	}
	return 0
}

// says whether a body holds one of the phrases, which are in lower case.
func says(body []byte, phrases []string) bool {
	text := strings.ToLower(string(body))
	return slices.ContainsFunc(phrases, func(p string) bool { return strings.Contains(text, p) })
}

// isPage says whether the body is a web page: something that stands in front of the upstream answered.
func isPage(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) }

// isAnswer says whether the body is a JSON object that is no error.
func isAnswer(body []byte) bool {
	var object map[string]json.RawMessage
	if json.Unmarshal(body, &object) != nil || object == nil {
		return false
	}
	failure := string(object["error"])
	return failure == "" || failure == "null"
}

// oneToken is the cheapest request that a model must serve.
func oneToken(model string) []byte {
	body, err := json.Marshal(map[string]any{
		"model": model, "max_tokens": 1, "stream": false,
		"messages": []map[string]string{{"role": "user", "content": "Hi"}},
	})
	if err != nil { // texts and numbers always encode
		panic(err)
	}
	return body
}
