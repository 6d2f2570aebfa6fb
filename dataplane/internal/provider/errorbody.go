package provider

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// maxErrorBody is how much of an error is read for its meaning.
const maxErrorBody = 64 << 10

// errorBody is what an upstream says about a failure, in whichever of the usual shapes: an error object (OpenAI,
// OpenRouter, Anthropic), a string (Ollama's own API), a bare message, a list with one of them, or plain text.
type errorBody struct {
	message          string
	typ, code, param string // short plain words or empty
	status           int    // a code that is an HTTP status; 0: none
	metadata         map[string]any
	hints            []map[string]any // where a time to wait may be told
}

// readErrorBody never fails: what cannot be read says nothing.
func readErrorBody(body []byte) *errorBody {
	b := &errorBody{}
	if body = bytes.TrimSpace(body); len(body) == 0 || len(body) > maxErrorBody {
		return b
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		if body[0] != '<' && body[0] != '{' && body[0] != '[' && utf8.Valid(body) { // not HTML, not half of something
			b.message = string(body)
		}
		return b
	}
	b.read(v)
	return b
}

func (b *errorBody) read(v any) {
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	top, ok := v.(map[string]any)
	if !ok {
		b.message, _ = v.(string)
		return
	}
	b.hints = append(b.hints, top)
	switch e := top["error"].(type) {
	case string:
		b.message = e
		b.fields(top)
	case map[string]any:
		b.hints = append(b.hints, e)
		b.fields(e)
	default:
		b.fields(top)
	}
}

func (b *errorBody) fields(m map[string]any) {
	for _, name := range [...]string{"message", "detail", "msg"} {
		if s, ok := m[name].(string); ok && b.message == "" {
			b.message = s
		}
	}
	b.typ, b.param = plain(m["type"]), plain(m["param"])
	switch code := m["code"].(type) {
	case json.Number:
		if n, err := code.Int64(); err == nil && n >= 100 && n <= 599 {
			b.status = int(n)
		}
	default:
		b.code = plain(code)
	}
	if meta, ok := m["metadata"].(map[string]any); ok {
		b.metadata = meta
		b.hints = append(b.hints, meta)
		if headers, ok := meta["headers"].(map[string]any); ok {
			b.hints = append(b.hints, headers)
		}
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,64}$`)

func plain(v any) string {
	s, _ := v.(string)
	if !plainWord.MatchString(s) {
		return ""
	}
	return s
}

// The ways in which a time to wait is told in the words of an error.
var (
	tryAgainIn = regexp.MustCompile(`(?i)(?:try again|retry) (?:in|after) ((?:[0-9.]+(?:ms|h|m|s))+)`)
	resetsAt   = regexp.MustCompile(`(?i)resets? (?:at|on) ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}))`)
)

// retryAfter looks for the time to wait in the body: the longest that its fields tell, else what its words tell.
func (b *errorBody) retryAfter(now time.Time) time.Duration {
	var longest time.Duration
	for _, m := range b.hints {
		for name, v := range m {
			longest = max(longest, hinted(name, v, now))
		}
	}
	if longest > 0 {
		return longest
	}
	if m := tryAgainIn.FindStringSubmatch(b.message); m != nil {
		return reset(m[1], now)
	}
	if m := resetsAt.FindStringSubmatch(b.message); m != nil {
		return reset(m[1], now)
	}
	return 0
}

func hinted(name string, v any, now time.Time) time.Duration {
	s, ok := v.(string)
	if !ok {
		n, isNumber := v.(json.Number)
		if !isNumber {
			return 0
		}
		s = n.String()
	}
	switch strings.ToLower(name) {
	case "retry_after_ms":
		return wait(s, time.Millisecond)
	case "retry_after_seconds", "retry_after", "retry-after", "resets_in_seconds":
		return waitOrDate(s, now)
	case "x-ratelimit-reset", "resets_at", "reset_at":
		return reset(s, now)
	default:
		return 0
	}
}

// says tells whether the code, the type or the words hold one of the phrases, which must be in lower case.
func (b *errorBody) says(phrases ...string) bool {
	text := strings.ToLower(b.code + "\n" + b.typ + "\n" + b.message)
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// is tells whether the code or the type is one of the words.
func (b *errorBody) is(words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(b.code, w) || strings.EqualFold(b.typ, w) {
			return true
		}
	}
	return false
}
