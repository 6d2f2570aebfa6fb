package provider

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"time"
)

// Dialect is how a family of upstreams speaks. Nothing in it does I/O, keeps state, or panics, whatever it is given.
type Dialect interface {
	// URL is where a path of the OpenAI-compatible API (/v1/…) or of the dialect's own lies below the base address.
	URL(base, path string) string
	// Authorize puts the key where the upstream looks for it, and removes Authorization if that is elsewhere.
	Authorize(h http.Header, key string)
	// Judge says what a response with a status other than 200 means. body may be cut.
	Judge(status int, h http.Header, body []byte, now time.Time) Verdict
	// JudgeEvent says what is wrong with the JSON of a 200: the first event of a stream, or a whole body. false: nothing.
	JudgeEvent(data []byte, now time.Time) (Verdict, bool)
	// ModelsPath is where the upstream lists its models, and Models makes an OpenAI list of what it says there.
	ModelsPath() string
	Models(body []byte) ([]byte, error)
	// Probe is the cheapest request that tells whether a key is good, and JudgeProbe reads its answer: OK, or what is held
	// against the key, or LocalError if nothing was learnt.
	Probe() (method, path string, body []byte)
	JudgeProbe(status int, h http.Header, body []byte, now time.Time) Verdict
}

// dialects are all there are, by name.
var dialects = map[string]Dialect{
	"ollama":     ollama{},
	"openrouter": openRouter{},
	"openai":     openAI{},
}

// Lookup answers the dialect of that name.
func Lookup(name string) (Dialect, bool) {
	d, ok := dialects[name]
	return d, ok
}

func bearer(h http.Header, key string) { h.Set("Authorization", "Bearer "+key) }

// MaxAnswerDepth is how deep an upstream's JSON may nest before it is taken for broken.
const MaxAnswerDepth = 512

// judgeEvent finds what is wrong with an answer that came with a 200. An error beside choices with content in them is part
// of an answer, not instead of one.
func (r rules) judgeEvent(data []byte, now time.Time) (Verdict, bool) {
	var failure, choices, kind []byte
	err := Members(data, MaxAnswerDepth, func(key, value []byte) {
		switch string(key) {
		case "error":
			failure = value
		case "choices":
			choices = value
		case "type":
			kind = value
		}
	})
	switch {
	case err != nil:
		return Verdict{Class: Broken, Next: Again}, true
	case !tells(failure) && string(kind) == `"error"`: // the error event of a Responses stream has no error object
		return r.embedded(readErrorBody(data), now), true
	case !tells(failure) || hasContent(choices):
		return Verdict{}, false
	case len(data) <= maxErrorBody:
		return r.embedded(readErrorBody(data), now), true
	default: // what is beside the error is too much to be read for its meaning
		wrapped := append(append([]byte(`{"error":`), failure...), '}')
		return r.embedded(readErrorBody(wrapped), now), true
	}
}

// tells says whether an error member is there and is an error: null, "" and {} are what some answers carry without one.
func tells(failure []byte) bool {
	switch string(bytes.TrimSpace(failure)) {
	case "", "null", `""`, "{}", "false":
		return false
	default:
		return true
	}
}

var endedInError = regexp.MustCompile(`"finish_reason"\s*:\s*"error"`)

// hasContent says whether the choices beside an error are more than the empty one that OpenRouter ends a failed stream with.
func hasContent(choices []byte) bool {
	if choices == nil || endedInError.Match(choices) {
		return false
	}
	return len(bytes.Trim(choices, "[] \t\r\nnul")) > 0
}

// probeByEmptyChat asks for a chat completion of nothing: it costs no token, and the key is looked at before the body.
func probeByEmptyChat() (method, path string, body []byte) {
	return http.MethodPost, "/v1/chat/completions", []byte("{}")
}

// judgeProbe reads a probe's answer; good are the statuses beside 2xx that a good key gets.
func (r rules) judgeProbe(status int, h http.Header, body []byte, now time.Time, good ...int) Verdict {
	if slices.Contains(good, status) {
		return Verdict{Class: OK, Status: status}
	}
	v := r.judge(status, h, readErrorBody(body), now)
	if v.Class == ClientError || v.Class == Forbidden {
		return Verdict{Class: LocalError, Status: status}
	}
	return v
}
