package provider

import (
	"net/http"
	"testing"
	"time"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestJudgeReadsTheMessageInEveryShape(t *testing.T) {
	for _, row := range []struct{ why, body, message string }{
		{"an error object", `{"error":{"message":"m"}}`, "m"},
		{"a string", `{"error":"m"}`, "m"},
		{"a bare message", `{"message":"m"}`, "m"},
		{"a detail", `{"detail":"m"}`, "m"},
		{"a list", `[{"error":{"message":"m"}}]`, "m"},
		{"plain text", "m\n", "m"},
		{"a list of details", `{"detail":[{"loc":["body"],"msg":"m"}]}`, "m"},
		{"one event of a stream", "event: error\ndata: {\"error\":{\"message\":\"m\"}}\n\n", "m"},
		{"with a byte order mark", "\xef\xbb\xbf{\"error\":\"m\"}", "m"},
		{"HTML with one says nothing", "\xef\xbb\xbf<html>m</html>", ""},
		{"Anthropic's", `{"type":"error","error":{"type":"x","message":"m"}}`, "m"},
		{"numbers too large", `{"error":{"message":"m","code":1e400}}`, "m"},
		{"HTML says nothing", "<html>m</html>", ""},
		{"half an object says nothing", `{"error":{"message":"m"`, ""},
		{"null says nothing", `null`, ""},
		{"an empty list says nothing", `[]`, ""},
	} {
		if got := openAIRules.judge(400, nil, readErrorBody([]byte(row.body)), noon).Message; got != row.message {
			t.Errorf("%s: got %q, want %q", row.why, got, row.message)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, row := range []struct {
		why    string
		header http.Header
		body   string
		want   time.Duration
	}{
		{"nothing told", header(), ``, 0},
		{"seconds", header("Retry-After", "12"), ``, 12 * s},
		{"a fraction", header("Retry-After", "1.5"), ``, 1500 * ms},
		{"an HTTP date", header("Retry-After", "Sun, 01 Mar 2026 12:01:00 GMT"), ``, 60 * s},
		{"a date that has passed", header("Retry-After", "Sun, 01 Mar 2026 11:00:00 GMT"), ``, 0},
		{"milliseconds come first", header("Retry-After-Ms", "250", "Retry-After", "1"), ``, 250 * ms},
		{"a negative number", header("Retry-After", "-5"), ``, 0},
		{"an absurd number", header("Retry-After", "1e300"), ``, maxWait},
		{"infinity", header("Retry-After", "Inf"), ``, maxWait},
		{"an absurd whole number", header("Retry-After", "1000000000000000000"), ``, maxWait},
		{"no number", header("Retry-After", "NaN"), ``, 0},
		{"zero, which says nothing: the body does", header("Retry-After", "0"), `{"error":{"message":"try again in 3s"}}`, 3 * s},
		{"an older HTTP date", header("Retry-After", "Sunday, 01-Mar-26 12:01:00 GMT"), ``, 60 * s},
		{"a duration", header("Retry-After", "1m30s"), ``, 90 * s},
		{"a moment where seconds belong", header("Retry-After", "1772366430"), ``, 30 * s},
		{"a modern date", header("Retry-After", "2026-03-01T12:01:00Z"), ``, 60 * s},
		{"a word", header("Retry-After", "soon"), ``, 0},
		{"a reset as duration", header("X-Ratelimit-Reset", "6m0s"), ``, 360 * s},
		{"a reset in seconds", header("X-Ratelimit-Reset", "42"), ``, 42 * s},
		{"a reset at a second", header("X-Ratelimit-Reset", "1772366430"), ``, 30 * s},
		{"a reset at a millisecond", header("X-Ratelimit-Reset", "1772366430500"), ``, 30500 * ms},
		{"a reset of requests", header("X-Ratelimit-Reset-Requests", "7s"), ``, 7 * s},
		{
			"the limit that is used up counts",
			header("X-Ratelimit-Reset-Requests", "1s", "X-Ratelimit-Reset-Tokens", "9s", "X-Ratelimit-Remaining-Tokens", "0"), ``, 9 * s,
		},
		{"else the first to end", header("X-Ratelimit-Reset-Requests", "1s", "X-Ratelimit-Reset-Tokens", "9s"), ``, s},
		{"Anthropic's several dates", header(
			"Anthropic-Ratelimit-Input-Tokens-Reset", "2026-03-01T12:00:40Z", "Anthropic-Ratelimit-Input-Tokens-Remaining", "0",
			"Anthropic-Ratelimit-Requests-Reset", "2026-03-01T12:00:05Z", "Anthropic-Ratelimit-Requests-Remaining", "49",
		), ``, 40 * s},
		{"Anthropic's moment", header("Anthropic-Ratelimit-Unified-Reset", "1772366430"), ``, 30 * s},
		{"a fraction of a reset", header("X-Ratelimit-Reset-Tokens", "17.6s"), ``, 17600 * ms},
		{"a reset in milliseconds", header("X-Ratelimit-Reset-Requests", "120ms"), ``, 120 * ms},
		{"Anthropic's date", header("Anthropic-Ratelimit-Requests-Reset", "2026-03-01T12:00:05Z"), ``, 5 * s},
		{"OpenRouter's metadata", header(), `{"error":{"code":429,"message":"x","metadata":{"retry_after_seconds":3.5}}}`, 3500 * ms},
		{"OpenRouter's header in the body", header(), `{"error":{"message":"x","metadata":{"headers":{"X-RateLimit-Reset":"1772366402000"}}}}`, 2 * s},
		{"a field of milliseconds", header(), `{"error":{"message":"x","retry_after_ms":1500}}`, 1500 * ms},
		{"a field with a date", header(), `{"error":"x","reset_at":"2026-03-01T12:10:00Z"}`, 600 * s},
		{"a field with a moment", header(), `{"error":{"message":"x","resets_at":1772366460,"resets_in_seconds":60}}`, 60 * s},
		{"Google's details", header(), `{"error":{"message":"x","details":[{"reason":"y"},{"retryDelay":"34.5s"}]}}`, 34500 * ms},
		{"a field of another kind", header(), `{"error":{"message":"x","retry_after":{"seconds":3}}}`, 0},
		{"a date in the words", header(), `{"error":"weekly usage limit, it resets at 2026-03-03T12:00:00Z"}`, 48 * time.Hour},
		{"a duration in the words", header(), `{"error":{"message":"Please try again in 1m2.5s."}}`, 62500 * ms},
		{"a body's absurd number", header(), `{"error":{"metadata":{"retry_after_seconds":1e400}}}`, maxWait},
		{"the header comes before the body", header("Retry-After", "2"), `{"error":{"metadata":{"retry_after_seconds":9}}}`, 2 * s},
	} {
		t.Run(row.why, func(t *testing.T) {
			v := openRouter{}.Judge(429, row.header, []byte(row.body), noon)
			if v.RetryAfter != row.want {
				t.Errorf("got %v, want %v", v.RetryAfter, row.want)
			}
		})
	}
}

func TestWaitsInWords(t *testing.T) {
	const s, m, h, day = time.Second, time.Minute, time.Hour, 24 * time.Hour
	for _, row := range []struct {
		says string
		want time.Duration
	}{
		{"Please try again in 20s.", 20 * s},
		{"Please try again in 6m32.256s. Need more?", 6*m + 32256*time.Millisecond},
		{"try again in 120ms", 120 * time.Millisecond},
		{"Try again in 20 seconds", 20 * s},
		{"please retry after 1 second.", s},
		{"Please retry in 34.07s.", 34070 * time.Millisecond},
		{"Please wait 30 seconds before the next request", 30 * s},
		{"wait for about 2 mins", 2 * m},
		{"it resets in 2 hours 5 minutes", 2*h + 5*m},
		{"will reset in 1 day, 2 hours and 5 minutes", 26*h + 5*m},
		{"Your limit resets in 3 days.", 3 * day},
		{"try again in 1 week", 7 * day},
		{"try again in 2 months", maxWait},
		{"try again in 99999999999999999999 hours", maxWait},
		{"resets in 1d 4h", 28 * h},
		{"resets at 2026-03-03T12:00:00Z", 48 * h},
		{"resets at 2026-03-03T12:00:00.5+02:00", 46 * h},
		{"resets on 2026-03-03", 36 * h},
		{"resets at 2026-03-01 12:30:00 UTC", 30 * m},
		{"You will regain access on 2026-03-02 at 00:00 UTC.", 12 * h},
		{"limited until 2026-03-01 13:00", h},
		{"try again at Mar 3", 36 * h},
		{"try again at March 3rd, 2026 10:00 AM", 46 * h},
		{"try again at 3 March 2026, 14:00 UTC", 50 * h},
		{"try again after Sun, 01 Mar 2026 12:01:00 GMT", m},
		{"resets at 3:30 PM (UTC)", 3*h + 30*m},
		{"resets at 11am", 23 * h},
		{"resets at 1772366430", 30 * s},
		{"the limit is 5 requests in 60 seconds; try again in 7 seconds", 7 * s},
		{"try again in 3 days, or in less: resets in 2 hours", 2 * h},

		{"resets 4:30pm (Asia/Calcutta)", 0}, // whatever that is in UTC
		{"resets Mar 3, 9am PST", 0},
		{"resets 4:30pm (GMT)", 4*h + 30*m},
		{"try again at Dec 3", 0}, // which is past, or else months away
		{"try again at Feb 28", 0},
		{"resets on 2026-02-28", 0},
		{"try again at Foo 3", 0},
		{"resets on 2026-13-45", 0},
		{"resets at 25:00", 0},
		{"try again in a while", 0},
		{"try again in 5 meters", 0},
		{"the limit is 5 requests in 60 seconds", 0},
		{"resets every 5 hours", 0},
		{"it's not what 'try again in 3 days' means", 0},
		{"", 0},
	} {
		if got := waitInWords(row.says, noon); got != row.want {
			t.Errorf("%q: got %v, want %v", row.says, got, row.want)
		}
	}
	newYearsEve := time.Date(2026, time.December, 31, 12, 0, 0, 0, time.UTC)
	if got := waitInWords("try again at Jan 2", newYearsEve); got != 36*h {
		t.Errorf("over the turn of a year: %v", got)
	}
	if got := waitInWords("try again at Dec 3", time.Date(2026, time.December, 2, 18, 0, 0, 0, time.UTC)); got != 6*h {
		t.Errorf("the day after: %v", got)
	}
}

func TestJudgeEvent(t *testing.T) {
	for _, row := range []struct {
		why, dialect, data string
		bad                bool
		class              Class
		status             int
	}{
		{"an ordinary event is fine", "openai", `{"id":"x","choices":[{"delta":{"content":"hi"}}]}`, false, 0, 0},
		{"a null error is none", "openai", `{"error":null,"choices":[]}`, false, 0, 0},
		{"an empty error is none", "openai", `{"error":"","choices":[]}`, false, 0, 0},
		{"an error object is one", "openai", `{"error":{"message":"boom"}}`, true, Broken, 0},
		{"an error string is one", "ollama", `{"error":"boom"}`, true, Broken, 0},
		{"the code inside decides: a limit", "openrouter", `{"error":{"code":429,"message":"slow","metadata":{"retry_after_seconds":2}}}`, true, RateLimited, 429},
		{"the code inside decides: the key", "openrouter", `{"error":{"code":401,"message":"no"}}`, true, AuthRejected, 401},
		{"the code inside decides: the content", "openrouter", `{"error":{"code":403,"message":"no"}}`, true, Forbidden, 403},
		{"the code inside decides: the client", "openrouter", `{"error":{"code":400,"message":"no"}}`, true, ClientError, 400},
		{"the code inside decides: the upstream", "openrouter", `{"error":{"code":502,"message":"no"}}`, true, Broken, 502},
		{"a word decides likewise", "openai", `{"error":{"code":"rate_limit_exceeded","message":"slow"}}`, true, RateLimited, 429},
		{"a type decides likewise", "openai", `{"type":"error","error":{"type":"overloaded_error","message":"slow"}}`, true, Broken, 529},
		{"OpenRouter's failed stream", "openrouter", `{"error":{"code":502,"message":"no"},"choices":[{"delta":{"content":""},"finish_reason": "error"}]}`, true, Broken, 502},
		{"an error beside content is part of an answer", "openai", `{"error":{"message":"x"},"choices":[{"delta":{"content":"hi"}}]}`, false, 0, 0},
		{"text is broken", "openai", `hello`, true, Broken, 0},
		{"half an object is broken", "openai", `{"choices":[`, true, Broken, 0},
		{"a list is broken", "openai", `[]`, true, Broken, 0},
		{"nothing is broken", "openai", ``, true, Broken, 0},
		{"an error deep inside is content", "openai", `{"choices":[{"delta":{"error":{"message":"x"}}}]}`, false, 0, 0},
	} {
		t.Run(row.why, func(t *testing.T) {
			d, _ := Lookup(row.dialect)
			v, bad := d.JudgeEvent([]byte(row.data), noon)
			if bad != row.bad || v.Class != row.class || v.Status != row.status {
				t.Errorf("got %v %v %d, want %v %v %d", bad, v.Class, v.Status, row.bad, row.class, row.status)
			}
		})
	}
}

func TestJudgeProbe(t *testing.T) {
	for _, row := range []struct {
		why, dialect string
		status       int
		class        Class
	}{
		{"an empty chat refused as such: the key is good", "ollama", 400, OK},
		{"an empty chat answered: the key is good", "openai", 200, OK},
		{"an empty chat that cannot be processed: the key is good", "openai", 422, OK},
		{"401: the key is dead", "ollama", 401, AuthRejected},
		{"402: nothing left", "openai", 402, Quota},
		{"429: the key is limited", "ollama", 429, RateLimited},
		{"403 that no rule knows: nothing learnt", "ollama", 403, LocalError},
		{"404: nothing learnt", "openai", 404, LocalError},
		{"405: nothing learnt", "openai", 405, LocalError},
		{"500: a soft failure", "openai", 500, ServerError},
		{"301: nothing learnt", "openai", 301, LocalError},
		{"OpenRouter shows the key: good", "openrouter", 200, OK},
		{"OpenRouter refuses it: dead", "openrouter", 401, AuthRejected},
		{"OpenRouter does not understand: nothing learnt", "openrouter", 400, LocalError},
	} {
		d, _ := Lookup(row.dialect)
		if v := d.JudgeProbe(row.status, http.Header{}, nil, noon); v.Class != row.class {
			t.Errorf("%s: got %v, want %v", row.why, v.Class, row.class)
		}
	}
}
