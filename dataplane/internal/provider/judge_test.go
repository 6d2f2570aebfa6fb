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

func TestJudge(t *testing.T) {
	type want struct {
		class     Class
		next      Next
		modelOnly bool
		code      string
	}
	for _, row := range []struct {
		why     string
		dialect string
		status  int
		body    string
		want    want
	}{
		{"401 takes the key out", "ollama", 401, `{"error":"unauthorized"}`, want{class: AuthRejected, next: OtherKey}},
		{"401 with no body too", "openai", 401, ``, want{class: AuthRejected, next: OtherKey}},
		{"402 is the key's credit", "openrouter", 402, `{"error":{"code":402,"message":"Insufficient credits"}}`, want{class: Quota, next: OtherKey}},
		{
			"402 of a request that asks for too much is not held against the key", "openrouter", 402,
			`{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 12"}}`,
			want{class: LocalError, next: Again},
		},
		{"403 about a revoked key is as 401", "openai", 403, `{"error":{"message":"This API key has been revoked"}}`, want{class: AuthRejected, next: OtherKey}},
		{"403 with a key's code is as 401", "openai", 403, `{"error":{"message":"no","code":"invalid_api_key"}}`, want{class: AuthRejected, next: OtherKey, code: "invalid_api_key"}},
		{"403 about a banned account is as 401", "ollama", 403, `{"error":"your account has been banned"}`, want{class: AuthRejected, next: OtherKey}},
		{"403 about the plan is about this model", "ollama", 403, `{"error":"this model requires a subscription, upgrade for access"}`, want{class: Forbidden, next: Again, modelOnly: true}},
		{
			"403 about access to a model is about this model", "openai", 403, `{"error":{"message":"Project does not have access to model gpt-9","code":"model_access_denied"}}`,
			want{class: Forbidden, next: Again, modelOnly: true, code: "model_access_denied"},
		},
		{"403 about credit is the key's credit", "openai", 403, `{"error":{"message":"Account balance is insufficient"}}`, want{class: Quota, next: OtherKey}},
		{"403 about the content is the client's", "openai", 403, `{"error":{"message":"flagged by moderation"}}`, want{class: Forbidden}},
		{"a moderation text that quotes key words benches nobody", "openai", 403, `{"error":{"message":"input flagged: 'invalid api key revoked banned'"}}`, want{class: Forbidden}},
		{"403 that no rule knows is tried once more", "ollama", 403, `{"error":"forbidden"}`, want{class: Forbidden, next: Once, modelOnly: true}},
		{"OpenRouter's 403 is moderation", "openrouter", 403, `{"error":{"code":403,"message":"Your input was blocked"}}`, want{class: Forbidden}},
		{"OpenRouter's 403 with key words is moderation too", "openrouter", 403, `{"error":{"code":403,"message":"revoked"}}`, want{class: Forbidden}},
		{"OpenRouter's key limit is the key's credit", "openrouter", 403, `{"error":{"code":403,"message":"Key limit exceeded (weekly limit)"}}`, want{class: Quota, next: OtherKey}},
		{"404 about the model says so", "ollama", 404, `{"error":{"message":"model 'nope' not found"}}`, want{class: ClientError, code: ModelNotFound}},
		{"404 by code says so", "openai", 404, `{"error":{"message":"gone","code":"model_not_found"}}`, want{class: ClientError, code: ModelNotFound}},
		{"404 without endpoints says so", "openrouter", 404, `{"error":{"code":404,"message":"No endpoints found for x/y"}}`, want{class: ClientError, code: ModelNotFound}},
		{"404 about something else does not", "openai", 404, `{"error":{"message":"no such route"}}`, want{class: ClientError}},
		{"400 is the client's", "openai", 400, `{"error":{"message":"context too long","code":"context_length_exceeded"}}`, want{class: ClientError, code: "context_length_exceeded"}},
		{"400 that speaks of keys is the client's still", "openai", 400, `{"error":{"message":"invalid api key"}}`, want{class: ClientError}},
		{"413 is the client's", "ollama", 413, ``, want{class: ClientError}},
		{"415 is the client's", "ollama", 415, ``, want{class: ClientError}},
		{"422 is the client's", "ollama", 422, `{"detail":"no"}`, want{class: ClientError}},
		{"451 is the client's", "openai", 451, ``, want{class: ClientError}},
		{"408 is about the moment", "openai", 408, ``, want{class: LocalError, next: Again}},
		{"409 is about the moment", "openai", 409, ``, want{class: LocalError, next: Again}},
		{"425 is about the moment", "openai", 425, ``, want{class: LocalError, next: Again}},
		{"429 slows the key down", "ollama", 429, `{"error":"too many requests"}`, want{class: RateLimited, next: OtherKey}},
		{
			"429 with insufficient_quota is credit", "openai", 429, `{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}`,
			want{class: Quota, next: OtherKey, code: "insufficient_quota"},
		},
		{"429 with a usage limit is quota", "ollama", 429, `{"error":"you have reached your weekly usage limit, upgrade for higher limits"}`, want{class: Quota, next: OtherKey}},
		{
			"429 of the provider behind OpenRouter is about the model", "openrouter", 429, `{"error":{"code":429,"message":"x/y:free is temporarily rate-limited upstream"}}`,
			want{class: RateLimited, next: OtherKey, modelOnly: true},
		},
		{"500 may be anyone's", "openai", 500, `oops`, want{class: ServerError, next: Again}},
		{"503 likewise", "openai", 503, `<html>`, want{class: ServerError, next: Again}},
		{"529 likewise", "openai", 529, ``, want{class: ServerError, next: Again}},
		{"a number that is no status likewise", "openai", 99, ``, want{class: ServerError, next: Again}},
		{"301 is never followed", "openai", 301, ``, want{class: LocalError}},
		{"308 is never followed", "ollama", 308, ``, want{class: LocalError}},
	} {
		t.Run(row.why, func(t *testing.T) {
			d, ok := Lookup(row.dialect)
			if !ok {
				t.Fatal("no such dialect")
			}
			v := d.Judge(row.status, http.Header{}, []byte(row.body), noon)
			if got := (want{v.Class, v.Next, v.ModelOnly, v.Code}); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			if v.Status != row.status {
				t.Errorf("status %d, want %d", v.Status, row.status)
			}
		})
	}
}

func TestJudgeReadsTheMessageInEveryShape(t *testing.T) {
	for _, row := range []struct{ why, body, message string }{
		{"an error object", `{"error":{"message":"m"}}`, "m"},
		{"a string", `{"error":"m"}`, "m"},
		{"a bare message", `{"message":"m"}`, "m"},
		{"a detail", `{"detail":"m"}`, "m"},
		{"a list", `[{"error":{"message":"m"}}]`, "m"},
		{"plain text", "m\n", "m"},
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
		{"no number", header("Retry-After", "NaN"), ``, 0},
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
		{"Anthropic's date", header("Anthropic-Ratelimit-Requests-Reset", "2026-03-01T12:00:05Z"), ``, 5 * s},
		{"OpenRouter's metadata", header(), `{"error":{"code":429,"message":"x","metadata":{"retry_after_seconds":3.5}}}`, 3500 * ms},
		{"OpenRouter's header in the body", header(), `{"error":{"message":"x","metadata":{"headers":{"X-RateLimit-Reset":"1772366402000"}}}}`, 2 * s},
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
		{"a type decides likewise", "openai", `{"type":"error","error":{"type":"overloaded_error","message":"slow"}}`, true, Broken, 0},
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
