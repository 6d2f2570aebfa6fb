package provider

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
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
	if body = eventOrBody(body); len(body) == 0 || len(body) > maxErrorBody {
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

// eventOrBody is the body without what is around it: white space, a byte order mark, or the frame of the one event that a
// stream which failed at once was answered with.
func eventOrBody(body []byte) []byte {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	if !bytes.HasPrefix(body, []byte("data:")) && !bytes.HasPrefix(body, []byte("event:")) {
		return body
	}
	for line := range bytes.Lines(body) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			return bytes.TrimSpace(data)
		}
	}
	return nil
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
		b.statusOf(top)
	default:
		b.fields(top)
	}
}

func (b *errorBody) fields(m map[string]any) {
	for _, name := range [...]string{"message", "detail", "msg"} {
		if b.message == "" {
			b.message = said(m[name])
		}
	}
	b.typ, b.code, b.param = plain(m["type"]), plain(m["code"]), plain(m["param"])
	if b.typ == "" {
		b.typ = plain(m["status"]) // Google's word for it
	}
	b.statusOf(m)
	if meta, ok := m["metadata"].(map[string]any); ok {
		b.metadata = meta
		b.hints = append(b.hints, meta)
		if headers, ok := meta["headers"].(map[string]any); ok {
			b.hints = append(b.hints, headers)
		}
	}
	details, _ := m["details"].([]any)
	for _, d := range details {
		if hint, ok := d.(map[string]any); ok {
			b.hints = append(b.hints, hint)
		}
	}
}

// said reads a message, or the first of a list of them.
func said(v any) string {
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	if m, ok := v.(map[string]any); ok {
		v = m["msg"]
	}
	s, _ := v.(string)
	return s
}

// statusOf looks for a status among the fields, as a number or as its digits.
func (b *errorBody) statusOf(m map[string]any) {
	for _, name := range [...]string{"code", "status", "status_code"} {
		s, ok := m[name].(string)
		if n, isNumber := m[name].(json.Number); isNumber {
			s, ok = n.String(), true
		}
		if n, err := strconv.Atoi(s); ok && err == nil && n >= 100 && n <= 599 && b.status == 0 {
			b.status = n
		}
	}
}

// ofProvider tells whether the error came from a provider behind the upstream, as OpenRouter says it.
func (b *errorBody) ofProvider() bool {
	name, _ := b.metadata["provider_name"].(string)
	return name != ""
}

// ofContent tells whether the error's metadata speaks of what the prompt was refused for, as OpenRouter has it.
func (b *errorBody) ofContent() bool {
	return b.metadata["flagged_input"] != nil || b.metadata["reasons"] != nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.\[\]-]{1,64}$`)

func plain(v any) string {
	s, _ := v.(string)
	if !plainWord.MatchString(s) {
		return ""
	}
	return s
}

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
	return waitInWords(b.message, now)
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
	switch plainName.Replace(strings.ToLower(name)) {
	case "retryafterms":
		return wait(s, time.Millisecond)
	case "retryafter", "retryafterseconds", "retrydelay", "resetin", "resetinseconds", "resetsin", "resetsinseconds",
		"resetat", "resetsat", "resettime", "nextreset", "availableat",
		"xratelimitreset", "xratelimitresetrequests", "xratelimitresettokens":
		return waitOrDate(s, now)
	default:
		return 0
	}
}

// plainName makes one of all the ways to spell a name.
var plainName = strings.NewReplacer("_", "", "-", "")
