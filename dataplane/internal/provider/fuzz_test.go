package provider

import (
	"encoding/json"
	"net/http"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","stream":true}`, `{"a":1e400,"b":-0.5E+3}`, `{"\u006dodel":"\ud83d\ude00"}`, `{"a":"\\\""}`, `[]`, `{`,
		"{\"a\":\"\x01\"}", "{\"a\":\"\xff\"}", `{"a":[{"b":[{}]}]}`, `{"a":"0123456701234567\n"}`, `{"a":01}`, ` { } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		last := map[string]string{}
		err := Members(data, 10000, func(key, value []byte) {
			if !json.Valid(value) {
				t.Errorf("value %q is not valid", value)
			}
			last[Text([]byte(`"`+string(key)+`"`))] = string(value)
		})
		var want map[string]json.RawMessage
		object := json.Unmarshal(data, &want) == nil && want != nil
		if (err == nil) != object {
			t.Fatalf("Members says %v, encoding/json says %v", err, object)
		}
	})
}

// inconsistent answers what of a verdict does not go together; empty: it all does.
func inconsistent(v Verdict) string {
	switch {
	case v.RetryAfter < 0 || v.RetryAfter > maxWait:
		return "waits for " + v.RetryAfter.String()
	case v.ModelOnly && v.Class != Forbidden && v.Class != RateLimited:
		return "narrows what is about no model"
	}
	for _, word := range []string{v.Type, v.Code, v.Param} {
		if word != "" && !plainWord.MatchString(word) {
			return "says a word that is not plain"
		}
	}
	may := map[Class][]Next{
		OK: {Stop}, ClientError: {Stop}, Forbidden: {Stop, Again, Once}, RateLimited: {OtherKey, Again}, Quota: {OtherKey},
		AuthRejected: {OtherKey}, ServerError: {Again}, LocalError: {Stop, Again}, Broken: {Again},
	}
	for _, next := range may[v.Class] {
		if next != v.Next {
			continue
		}
		if (v.Class == Forbidden && next == Stop || v.Class == RateLimited && next == OtherKey) && v.ModelOnly {
			return "blames the model, yet goes on as if it were another's fault"
		}
		if (v.Class == OK || v.Class == ClientError || v.Class == Forbidden || v.Class == AuthRejected) && v.RetryAfter != 0 {
			return "waits where waiting is of no use"
		}
		return ""
	}
	return "goes on as this class must not"
}

// headersOf reads lines of "Name: value".
func headersOf(lines string) http.Header {
	h := http.Header{}
	for line := range strings.Lines(lines) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			h[textproto.CanonicalMIMEHeaderKey(name)] = []string{strings.TrimSpace(value)}
		}
	}
	return h
}

// FuzzJudge gives the classifier any answer at all.
func FuzzJudge(f *testing.F) {
	f.Add(429, "Retry-After: 1", []byte(`{"error":{"message":"x","code":429,"metadata":{"retry_after_seconds":1}}}`))
	f.Add(403, "X-Ratelimit-Reset: 1e18", []byte(`{"error":"usage limit resets at 2026-03-03T12:00:00Z"}`))
	f.Add(402, "Retry-After: Sun, 01 Mar 2026 12:01:00 GMT", []byte(`[{"error":{"code":"402"}}]`))
	f.Add(500, "Retry-After-Ms: -1\nX-Ratelimit-Reset-Tokens: 6m0s", []byte("\xff\x00<html>"))
	f.Add(-1, "", []byte(`{"error":{"error":{"error":[[[[]]]]}}}`))
	f.Fuzz(func(t *testing.T, status int, headers string, body []byte) {
		h := headersOf(headers)
		for dialect, d := range dialects {
			v := d.Judge(status, h, body, noon)
			if wrong := inconsistent(v); wrong != "" {
				t.Errorf("%s: %d %+v %s", dialect, status, v, wrong)
			}
			if v.Status != status {
				t.Errorf("%s: status %d became %d", dialect, status, v.Status)
			}
			if theClients := status == 400 || status == 413 || status == 415 || status == 422; theClients && v.Class != ClientError {
				t.Errorf("%s: a %d is held against a key: %v", dialect, status, v.Class)
			}
			if (v.Class == AuthRejected || v.Class == Quota) && status != 401 && status != 402 && status != 403 && status != 429 {
				t.Errorf("%s: a %d takes a key out: %v", dialect, status, v.Class)
			}
			if v = d.JudgeProbe(status, h, body, noon); v.Class == ClientError || v.Class == Forbidden || v.RetryAfter < 0 || v.RetryAfter > maxWait {
				t.Errorf("%s: a probe came to %+v", dialect, v)
			}
			_, _ = d.Models(body)
		}
	})
}

// FuzzJudgeEvent gives it any first event, or whole body, of a 200.
func FuzzJudgeEvent(f *testing.F) {
	for _, seed := range []string{
		`{"choices":[]}`, `{"error":"x"}`, `{"error":{"code":429}}`, `{"error":{"code":"insufficient_quota"},"choices":[]}`, `{`, `[DONE]`,
		`{"error":[1,{"message":"x"}]}`, `{"error":{"message":{"message":"x"},"code":1e999,"metadata":[]}}`,
		`{"type":"error","code":"rate_limit_exceeded"}`, `{"error":"too many requests","status":429}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for dialect, d := range dialects {
			v, bad := d.JudgeEvent(data, noon)
			if bad != (v.Class != Unknown) {
				t.Errorf("%s: bad %v with class %v", dialect, bad, v.Class)
			}
			if !json.Valid(data) && !bad {
				t.Errorf("%s: what is no JSON is taken for an answer", dialect)
			}
			if !bad {
				continue
			}
			if wrong := inconsistent(v); wrong != "" || v.Class == OK {
				t.Errorf("%s: %+v %s", dialect, v, wrong)
			}
		}
	})
}

// FuzzRetryAfter gives one header and one message anything to tell a time in.
func FuzzRetryAfter(f *testing.F) {
	for i, seed := range []string{"12", "1.5", "Sun, 01 Mar 2026 12:01:00 GMT", "6m0s", "1772366430500", "-5", "1e18", "NaN", "0x1p-2", "2026-03-01T12:00:05Z", ""} {
		f.Add(uint8(i), seed, "try again in "+seed)
	}
	f.Add(uint8(0), "", "resets at 2026-03-01 12:30:00 UTC, or on March 3rd at 10pm")
	names := []string{"Retry-After", "Retry-After-Ms"}
	for _, pair := range resetHeaders {
		names = append(names, pair[0])
	}
	f.Fuzz(func(t *testing.T, which uint8, value, message string) {
		name := names[int(which)%len(names)]
		got := openAI{}.Judge(429, http.Header{name: {value}}, nil, noon).RetryAfter
		words := waitInWords(message, noon)
		if got < 0 || got > maxWait || words < 0 || words > maxWait {
			t.Fatalf("%s: %q waits %v, %q waits %v", name, value, got, message, words)
		}
		unit := time.Second
		if name == "Retry-After-Ms" {
			unit = time.Millisecond
		}
		if n, err := strconv.ParseUint(value, 10, 32); err == nil && n < 1e9 {
			if want := min(time.Duration(n)*unit, maxWait); got != want {
				t.Errorf("%s: %q waits %v, want %v", name, value, got, want)
			}
		}
		if at, err := http.ParseTime(value); err == nil && unit == time.Second {
			if want := min(max(at.Sub(noon), 0), maxWait); got != want {
				t.Errorf("%s: %q waits %v, want %v", name, value, got, want)
			}
		}
	})
}

// FuzzErrorBody gives it any body of an error.
func FuzzErrorBody(f *testing.F) {
	for _, seed := range []string{
		`{"error":{"message":"m","type":"t","code":"c","param":"p"}}`, `{"error":"m"}`, `[{"error":{"message":"m","status":"NOT_FOUND"}}]`, `"m"`,
		"plain it's \"quoted\" text", "<html>", "\xef\xbb\xbf<html>", "event: error\ndata: {\"error\":\"m\"}\n\n", `{"detail":[{"msg":"m"}]}`, `{"error":`, `1e999`,
		`{"error":{"message":"“a” ‘b’ «c» [d] {e}","details":[{"retryDelay":"3s"}],"metadata":{"headers":{"X-RateLimit-Reset":"1"}}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b := readErrorBody(body)
		if !utf8.ValidString(b.message) || len(b.message) > 3*maxErrorBody {
			t.Errorf("message of %d bytes: %q", len(b.message), b.message)
		}
		if trimmed := strings.TrimSpace(string(body)); strings.HasPrefix(trimmed, "<") && b.message != "" {
			t.Errorf("a page says %q", b.message)
		}
		for _, word := range []string{b.typ, b.code, b.param} {
			if word != "" && !plainWord.MatchString(word) {
				t.Errorf("a word that is not plain: %q", word)
			}
		}
		if b.status != 0 && (b.status < 100 || b.status > 599) {
			t.Errorf("status %d", b.status)
		}
		if !strings.HasPrefix(b.message, own(b.message)) {
			t.Errorf("%q are not its own words of %q", own(b.message), b.message)
		}
		if rest := unquotedWords(b.message); strings.Contains(rest, "\"") || strings.Contains(rest, "`") {
			t.Errorf("%q still quotes", rest)
		}
		if d := b.retryAfter(noon); d < 0 || d > maxWait {
			t.Errorf("waits %v", d)
		}
	})
}

// FuzzMatchModel compares with a regular expression that says the same.
func FuzzMatchModel(f *testing.F) {
	for _, seed := range [][2]string{{"kimi*", "kimi-k2:1t"}, {"*:free", "a/b:free"}, {"a?c", "aüc"}, {"*??xy*", "€xyz"}, {"[a]", "[a]"}, {`\*`, `\x`}, {"a*b*c", "aXbYbZc"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, model string) {
		if model == "" || !utf8.ValidString(pattern) || !utf8.ValidString(model) || len(pattern) > 500 {
			return
		}
		says := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(pattern))
		want := regexp.MustCompile(`(?s)^` + says + `$`).MatchString(model)
		if got := MatchModel([]string{pattern}, model); got != want {
			t.Errorf("%q for %q: %v, want %v", pattern, model, got, want)
		}
	})
}
