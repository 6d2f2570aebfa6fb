package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// yes, no and once are what a verdict says of the next key: yes at the cost of the key alone, tried at that of a try.
const (
	yes   = OtherKey
	tried = Again
	once  = Once
	no    = Stop
)

const (
	ollamaLimit  = `{"error":"you (some one) have reached your weekly usage limit, upgrade for higher limits: https://ollama.com/upgrade (ref: 5e2f)"}`
	ollamaPlan   = `{"error":"this model requires a subscription, upgrade for access: https://ollama.com/upgrade (ref: 5e2f)"}`
	ollamaLost   = `{"error":"model 'nope' not found"}`
	overAccount  = `{"error":{"code":402,"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits"}}`
	overRequest  = `{"error":{"code":402,"message":"This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 12"}}`
	overModerate = `{"error":{"code":403,"message":"x/y requires moderation on Them. Your input was flagged for \"violence\".","metadata":{"reasons":["violence"],"flagged_input":"my api key was revoked"}}}`
	overBehind   = `{"error":{"code":429,"message":"Provider returned error","metadata":{"raw":"x/y:free is temporarily rate-limited upstream. Please retry shortly.","provider_name":"Them"}}}`
	overDaily    = `{"error":{"code":429,"message":"Rate limit exceeded: free-models-per-day. Add 10 credits","metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1772373600000"},"provider_name":null}}}`
	openQuota    = `{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://x.example","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`
	openLimit    = `{"error":{"message":"Rate limit reached for gpt-x in organization org-1 on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`
	openTooLarge = `{"error":{"message":"Request too large for gpt-x in organization org-1 on tokens per min (TPM): Limit 30000, Requested 60000. The input or output tokens must be reduced in order to run successfully.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`
	openTooLong  = `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	openLost     = "{\"error\":{\"message\":\"The model `nope` does not exist or you do not have access to it.\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}"
	openBadKey   = `{"error":{"message":"Incorrect API key provided: sk-abc***xyz. You can find your API key at https://x.example.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`
	htmlPage     = "<!DOCTYPE html>\n<html><title>Just a moment... weekly usage limit, key revoked</title></html>"
)

// anthropicBody is an error as Anthropic tells it.
func anthropicBody(kind, message string) string {
	return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":"req_1"}`
}

// judged is what matters of a verdict.
type judged struct {
	class     Class
	next      Next
	modelOnly bool
	wait      time.Duration
	code      string
}

func whatMatters(v Verdict) judged {
	return judged{v.Class, v.Next, v.ModelOnly, v.RetryAfter, v.Code}
}

// What an upstream shows with a status other than 200, kind by kind, in the shapes that real ones have.
func TestVerdictTable(t *testing.T) {
	const s, h, day = time.Second, time.Hour, 24 * time.Hour
	for _, row := range []struct {
		why, dialect string
		status       int
		header       http.Header
		body         string
		want         judged
	}{
		// 400, 404 (not the model), 413, 415, 422, context too long: no other key, nothing against this one
		{"400 is the client's", "openai", 400, nil, `{"error":{"message":"messages is required"}}`, judged{class: ClientError, next: no}},
		{"400 that speaks of keys is the client's still", "openai", 400, nil, `{"error":{"message":"invalid api key"}}`, judged{class: ClientError, next: no}},
		{"400 that speaks of a limit is the client's still", "ollama", 400, nil, ollamaLimit, judged{class: ClientError, next: no}},
		{"400 that tells when to come back is the client's still", "openai", 400, header("Retry-After", "9"), ``, judged{class: ClientError, next: no}},
		{"a text too long is the client's: OpenAI", "openai", 400, nil, openTooLong, judged{class: ClientError, next: no, code: "context_length_exceeded"}},
		{"a text too long is the client's: Anthropic", "openai", 400, nil, anthropicBody("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), judged{class: ClientError, next: no}},
		{"a text too long is the client's: Ollama", "ollama", 400, nil, `{"error":"the input length exceeds the context length"}`, judged{class: ClientError, next: no}},
		{"a text too long is the client's as 413 too", "openai", 413, nil, openTooLarge, judged{class: ClientError, next: no, code: "rate_limit_exceeded"}},
		{"a body too large is the client's: Anthropic", "openai", 413, nil, anthropicBody("request_too_large", "Request exceeds the maximum size"), judged{class: ClientError, next: no}},
		{"413 without a word is the client's", "ollama", 413, nil, ``, judged{class: ClientError, next: no}},
		{"413 of a server in front is the client's", "ollama", 413, nil, htmlPage, judged{class: ClientError, next: no}},
		{"415 is the client's", "ollama", 415, nil, ``, judged{class: ClientError, next: no}},
		{"422 is the client's", "openai", 422, nil, `{"detail":[{"loc":["body","n"],"msg":"field required"}]}`, judged{class: ClientError, next: no}},
		{"405 is the client's", "ollama", 405, nil, `405 method not allowed`, judged{class: ClientError, next: no}},
		{"410 is the client's", "openai", 410, nil, `{"error":{"message":"this model was retired"}}`, judged{class: ClientError, next: no}},
		{"451 is the client's", "openai", 451, nil, ``, judged{class: ClientError, next: no}},
		{"404 about a path says nothing of a model", "openai", 404, nil, `{"error":{"message":"no such route"}}`, judged{class: ClientError, next: no}},
		{"404 as plain text says nothing of a model", "ollama", 404, nil, "404 page not found\n", judged{class: ClientError, next: no}},

		// 401: another key at once
		{"401 takes the key out: Ollama", "ollama", 401, nil, `{"error":"unauthorized"}`, judged{class: AuthRejected, next: yes}},
		{"401 takes the key out: OpenAI", "openai", 401, nil, openBadKey, judged{class: AuthRejected, next: yes, code: "invalid_api_key"}},
		{"401 takes the key out: OpenRouter", "openrouter", 401, nil, `{"error":{"message":"User not found.","code":401}}`, judged{class: AuthRejected, next: yes}},
		{"401 takes the key out: Anthropic", "openai", 401, nil, anthropicBody("authentication_error", "invalid x-api-key"), judged{class: AuthRejected, next: yes}},
		{"401 takes the key out without a word", "openai", 401, nil, ``, judged{class: AuthRejected, next: yes}},
		{"401 takes the key out as a page", "openai", 401, nil, htmlPage, judged{class: AuthRejected, next: yes}},

		// 402, insufficient quota, weekly and session usage limits: another key; this one waits, for days if it says so
		{"402 is the key's credit: OpenRouter", "openrouter", 402, nil, overAccount, judged{class: Quota, next: yes}},
		{"402 is the key's credit: others", "openai", 402, nil, `{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}`, judged{class: Quota, next: yes, code: "invalid_request_error"}},
		{"402 is the key's credit: Anthropic", "openai", 402, nil, anthropicBody("billing_error", "There is an issue with your billing"), judged{class: Quota, next: yes}},
		{"402 is the key's credit, without a word", "openai", 402, header("Retry-After", "3600"), ``, judged{class: Quota, next: yes, wait: h}},
		{"402 of a request that asks for too much is not held against the key", "openrouter", 402, nil, overRequest, judged{class: LocalError, next: tried}},
		{"402 of a prompt that is too long for free use likewise", "openrouter", 402, nil, `{"error":{"code":402,"message":"Prompt tokens limit exceeded: 11021 > 8000. To increase, visit https://x.example and upgrade to a paid account"}}`, judged{class: LocalError, next: tried}},
		{"429 with insufficient_quota is credit", "openai", 429, nil, openQuota, judged{class: Quota, next: yes, code: "insufficient_quota"}},
		{"429 of an account that does not pay is credit", "openai", 429, nil, `{"error":{"message":"Your account is not active, please check your billing details on our website.","type":"billing_not_active","code":"billing_not_active"}}`, judged{class: Quota, next: yes, code: "billing_not_active"}},
		{"429 with all credits spent is credit", "openai", 429, nil, `{"code":"Some resource has been exhausted","error":"Your team 5e2f has either used all available credits or reached its monthly spending limit."}`, judged{class: Quota, next: yes}},
		{"429 with Google's quota waits as its details say", "openai", 429, nil, `[{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"RetryInfo","retryDelay":"34s"}]}}]`, judged{class: Quota, next: yes, wait: 34 * s}},
		{"429 with a weekly limit is quota", "ollama", 429, nil, ollamaLimit, judged{class: Quota, next: yes}},
		{"429 with a session limit is quota", "ollama", 429, nil, `{"error":"you have reached your session usage limit, try again in 2 hours 5 minutes"}`, judged{class: Quota, next: yes, wait: 2*h + 5*time.Minute}},
		{"429 with a session limit, in the words of today", "ollama", 429, nil, `{"error":"you (someone) have reached your session usage limit, please wait or upgrade to continue"}`, judged{class: Quota, next: yes}},
		{"429 with an hourly limit, at /v1", "ollama", 429, nil, `{"error":{"message":"you've reached your hourly usage limit, please wait or upgrade to continue","type":"api_error","param":null,"code":null}}`, judged{class: Quota, next: yes}},
		{"a weekly limit may take days", "ollama", 429, nil, `{"error":"You've reached your weekly usage limit. It resets in 3 days."}`, judged{class: Quota, next: yes, wait: 3 * day}},
		{"a weekly limit may end at a date", "ollama", 429, nil, `{"error":"you have reached your weekly usage limit, it resets at 2026-03-04T12:00:00Z"}`, judged{class: Quota, next: yes, wait: 3 * day}},
		{"a limit in plain text", "ollama", 429, nil, "weekly usage limit reached\n", judged{class: Quota, next: yes}},
		{"403 about credit is credit", "openai", 403, nil, `{"error":{"message":"Account balance is insufficient"}}`, judged{class: Quota, next: yes}},
		{"403 of a team without credits is credit", "openai", 403, nil, `{"code":"The caller does not have permission","error":"Your newly created team doesn't have any credits yet."}`, judged{class: Quota, next: yes}},
		{"403 with OpenRouter's key limit is credit", "openrouter", 403, nil, `{"error":{"code":403,"message":"Key limit exceeded (weekly limit). Manage it using https://openrouter.ai"}}`, judged{class: Quota, next: yes}},

		// 403 about the key: as 401
		{"403 about a revoked key", "openai", 403, nil, `{"error":{"message":"This API key has been revoked"}}`, judged{class: AuthRejected, next: yes}},
		{"403 with a key's code", "openai", 403, nil, `{"error":{"message":"no","code":"invalid_api_key"}}`, judged{class: AuthRejected, next: yes, code: "invalid_api_key"}},
		{"403 about a banned account: Ollama", "ollama", 403, nil, `{"error":"your account has been banned"}`, judged{class: AuthRejected, next: yes}},
		{"403 about a key, shortly: Ollama", "ollama", 403, nil, `{"error":"key revoked"}`, judged{class: AuthRejected, next: yes}},
		{"403 about a deactivated account: OpenAI", "openai", 403, nil, `{"error":{"message":"The OpenAI account associated with this API key has been deactivated.","code":"account_deactivated"}}`, judged{class: AuthRejected, next: yes, code: "account_deactivated"}},
		{"403 about a disabled organization: Anthropic", "openai", 403, nil, anthropicBody("permission_error", "This organization has been disabled."), judged{class: AuthRejected, next: yes}},
		{"403 about a leaked key", "openai", 403, nil, `{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}`, judged{class: AuthRejected, next: yes}},
		{"403 about a blocked key", "openai", 403, nil, `{"error":"API key is currently blocked: k***y"}`, judged{class: AuthRejected, next: yes}},
		{"403 about an expired key as plain text", "openai", 403, nil, "API key expired", judged{class: AuthRejected, next: yes}},

		// 403 about the model or plan: others, but this key is good for the rest
		{"403 about the plan: Ollama", "ollama", 403, nil, ollamaPlan, judged{class: Forbidden, next: tried, modelOnly: true}},
		{"403 about the model: OpenAI", "openai", 403, nil, "{\"error\":{\"message\":\"Project `proj_1` does not have access to model `gpt-9`\",\"code\":\"model_not_found\"}}", judged{class: Forbidden, next: tried, modelOnly: true, code: "model_not_found"}},
		{"403 about the model: Anthropic", "openai", 403, nil, anthropicBody("permission_error", "Your API key does not have permission to use the specified resource."), judged{class: Forbidden, next: tried, modelOnly: true}},
		{"403 about the plan: others", "openai", 403, nil, `{"detail":"This model is not available on your plan"}`, judged{class: Forbidden, next: tried, modelOnly: true}},

		// 403 that no rule recognises: once
		{"403 that says nothing", "ollama", 403, nil, `{"error":"forbidden"}`, judged{class: Forbidden, next: once, modelOnly: true}},
		{"403 without a word", "openai", 403, nil, ``, judged{class: Forbidden, next: once, modelOnly: true}},
		{"403 of a server in front, whatever its page says", "openai", 403, nil, htmlPage, judged{class: Forbidden, next: once, modelOnly: true}},
		{"403 about a country", "openai", 403, nil, `{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}`, judged{class: Forbidden, next: once, modelOnly: true, code: "unsupported_country_region_territory"}},

		// 403 about content: no other key, nothing against this one
		{"403 about content: OpenRouter", "openrouter", 403, nil, overModerate, judged{class: Forbidden, next: no}},
		{"OpenRouter's usual 403 is about content", "openrouter", 403, nil, `{"error":{"code":403,"message":"Your input was blocked"}}`, judged{class: Forbidden, next: no}},
		{"so it is with key words in it", "openrouter", 403, nil, `{"error":{"code":403,"message":"revoked"}}`, judged{class: Forbidden, next: no}},
		{"403 about content: others", "openai", 403, nil, `{"error":{"message":"flagged by moderation"}}`, judged{class: Forbidden, next: no}},
		{"403 about content in another upstream's metadata", "openai", 403, nil, overModerate, judged{class: Forbidden, next: no}},
		{"403 about content in the metadata alone", "openai", 403, nil, `{"error":{"code":403,"message":"Input refused","metadata":{"reasons":["violence"]}}}`, judged{class: Forbidden, next: no}},
		{"403 about banned things is not about a banned key", "openai", 403, nil, `{"error":{"message":"Your request mentions banned substances"}}`, judged{class: Forbidden, next: once, modelOnly: true}},

		// 404 model not found: no other key
		{"404 about the model: Ollama", "ollama", 404, nil, ollamaLost, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: Ollama at /v1", "ollama", 404, nil, `{"error":{"message":"model \"nope\" not found, try pulling it first","type":"api_error","param":null,"code":null}}`, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: OpenAI", "openai", 404, nil, openLost, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: Anthropic", "openai", 404, nil, anthropicBody("not_found_error", "model: claude-nope"), judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: OpenRouter", "openrouter", 404, nil, `{"error":{"code":404,"message":"No endpoints found for x/y."}}`, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: Google", "openai", 404, nil, `[{"error":{"code":404,"message":"models/nope is not found for API version v1main, or is not supported for generateContent","status":"NOT_FOUND"}}]`, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about the model: by its code alone", "openai", 404, nil, `{"error":{"message":"gone","code":"model_not_found"}}`, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"404 about a model that was retired", "openai", 404, nil, `{"error":{"message":"The model x has been decommissioned"}}`, judged{class: ClientError, next: no, code: ModelNotFound}},

		// 408, 409, 425: others, nothing against this one
		{"408 is about the moment", "openrouter", 408, nil, `{"error":{"code":408,"message":"Request timed out"}}`, judged{class: LocalError, next: tried}},
		{"409 is about the moment", "openai", 409, header("Retry-After", "2"), ``, judged{class: LocalError, next: tried, wait: 2 * s}},
		{"425 is about the moment", "openai", 425, nil, ``, judged{class: LocalError, next: tried}},

		// 429: others; this one waits
		{"429 slows the key down: Ollama", "ollama", 429, nil, `{"error":"too many requests"}`, judged{class: RateLimited, next: yes}},
		{"429 slows the key down: OpenAI", "openai", 429, nil, openLimit, judged{class: RateLimited, next: yes, wait: 20 * s, code: "rate_limit_exceeded"}},
		{"429 slows the key down: OpenRouter", "openrouter", 429, nil, overDaily, judged{class: RateLimited, next: yes, wait: 2 * h}},
		{"429 slows the key down: Anthropic", "openai", 429, header("Retry-After", "11", "Anthropic-Ratelimit-Tokens-Reset", "2026-03-01T12:00:30Z"), anthropicBody("rate_limit_error", "This request would exceed your account's rate limit."), judged{class: RateLimited, next: yes, wait: 11 * s}},
		{"429 slows the key down as a page", "openai", 429, header("Retry-After", "7"), htmlPage, judged{class: RateLimited, next: yes, wait: 7 * s}},
		{"429 slows the key down without a word", "ollama", 429, nil, ``, judged{class: RateLimited, next: yes}},
		{"429 of the provider behind OpenRouter is about the model", "openrouter", 429, nil, overBehind, judged{class: RateLimited, next: tried, modelOnly: true}},
		{"429 that says it is upstream's is about the model", "openrouter", 429, nil, `{"error":{"code":429,"message":"x/y:free is temporarily rate-limited upstream"}}`, judged{class: RateLimited, next: tried, modelOnly: true}},
		{"429 that says it is nobody's limit is about the model", "openai", 429, nil, `{"error":{"message":"Server is temporarily limiting requests (not your usage limit)"}}`, judged{class: RateLimited, next: tried, modelOnly: true}},
		{"429 of an engine that all share is about the model", "openai", 429, nil, `{"error":{"message":"The engine is currently overloaded, please try again later","type":"engine_overloaded_error"}}`, judged{class: RateLimited, next: tried, modelOnly: true}},
		{"429 of a request that no limit would let pass is not held against the key", "openai", 429, nil, openTooLarge, judged{class: LocalError, next: tried, code: "rate_limit_exceeded"}},

		{"429 of a request that needs a plan for long texts likewise", "openai", 429, nil, anthropicBody("rate_limit_error", "Extra usage is required for long context requests."), judged{class: LocalError, next: tried}},

		// 500, 502, 503, 504, 529: others, a soft strike
		{"500 may be anyone's", "openai", 500, nil, `oops`, judged{class: ServerError, next: tried}},
		{"500 that speaks of keys and limits likewise", "ollama", 500, nil, ollamaLimit, judged{class: ServerError, next: tried}},
		{"502 likewise", "openrouter", 502, nil, `{"error":{"code":502,"message":"Provider returned error","metadata":{"provider_name":"Them","raw":{}}}}`, judged{class: ServerError, next: tried}},
		{"503 likewise", "openai", 503, nil, htmlPage, judged{class: ServerError, next: tried}},
		{"503 tells when to come back", "openai", 503, header("Retry-After", "30"), ``, judged{class: ServerError, next: tried, wait: 30 * s}},
		{"503 beside limits that were not met does not", "openai", 503, header("X-Ratelimit-Reset-Tokens", "6m0s", "X-Ratelimit-Remaining-Tokens", "149984"), ``, judged{class: ServerError, next: tried}},
		{"504 likewise", "openai", 504, nil, ``, judged{class: ServerError, next: tried}},
		{"524 of a server in front likewise", "openai", 524, nil, htmlPage, judged{class: ServerError, next: tried}},
		{"529 likewise", "openai", 529, nil, anthropicBody("overloaded_error", "Overloaded"), judged{class: ServerError, next: tried}},
		{"599, which is no one's, likewise", "openai", 599, nil, ``, judged{class: ServerError, next: tried}},
		{"numbers that are no status likewise: 99", "openai", 99, nil, ``, judged{class: ServerError, next: tried}},
		{"numbers that are no status likewise: 199", "openai", 199, nil, ``, judged{class: ServerError, next: tried}},
		{"numbers that are no status likewise: 600", "openai", 600, nil, ``, judged{class: ServerError, next: tried}},
		{"numbers that are no status likewise: 999", "ollama", 999, nil, ``, judged{class: ServerError, next: tried}},

		// 3xx: no other key
		{"301 is never followed", "openai", 301, header("Location", "https://elsewhere.example/"), ``, judged{class: LocalError, next: no}},
		{"302 is never followed", "openrouter", 302, nil, ``, judged{class: LocalError, next: no}},
		{"304 is never followed", "openai", 304, nil, ``, judged{class: LocalError, next: no}},
		{"307 is never followed", "openai", 307, nil, ``, judged{class: LocalError, next: no}},
		{"308 is never followed", "ollama", 308, nil, ``, judged{class: LocalError, next: no}},
	} {
		t.Run(row.why, func(t *testing.T) {
			d, ok := Lookup(row.dialect)
			if !ok {
				t.Fatal("no such dialect")
			}
			v := d.Judge(row.status, row.header, []byte(row.body), noon)
			if got := whatMatters(v); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			if v.Status != row.status {
				t.Errorf("status %d, want %d", v.Status, row.status)
			}
		})
	}
}

// An error inside a 200 is judged by the code or the type in it, else it is a broken answer: a soft strike.
func TestVerdictTableWithinA200(t *testing.T) {
	const s, day = time.Second, 24 * time.Hour
	for _, row := range []struct {
		why, dialect, data string
		want               judged
	}{
		{"a page is no answer", "ollama", htmlPage, judged{class: Broken, next: tried}},
		{"nothing is no answer", "openai", ``, judged{class: Broken, next: tried}},
		{"half an answer is none", "openai", `{"choices":[`, judged{class: Broken, next: tried}},
		{"the end is no answer", "openai", `[DONE]`, judged{class: Broken, next: tried}},
		{"an error that says no more", "openai", `{"error":{"message":"boom"}}`, judged{class: Broken, next: tried}},
		{"OpenRouter's code: its provider left", "openrouter", `{"id":"g","error":{"code":502,"message":"Provider disconnected"},"choices":[{"delta":{"content":""},"finish_reason":"error"}]}`, judged{class: Broken, next: tried}},
		{"OpenRouter's code: the key", "openrouter", `{"error":{"code":401,"message":"No auth credentials found"}}`, judged{class: AuthRejected, next: yes}},
		{"OpenRouter's code: credit", "openrouter", overAccount, judged{class: Quota, next: yes}},
		{"OpenRouter's code: a request that asks for too much", "openrouter", overRequest, judged{class: LocalError, next: tried}},
		{"OpenRouter's code: content", "openrouter", overModerate, judged{class: Forbidden, next: no}},
		{"OpenRouter's code: a limit", "openrouter", `{"error":{"code":429,"message":"slow","metadata":{"retry_after_seconds":2}}}`, judged{class: RateLimited, next: yes, wait: 2 * s}},
		{"OpenRouter's code: a provider's limit", "openrouter", overBehind, judged{class: RateLimited, next: tried, modelOnly: true}},
		{"OpenRouter's code: the client", "openrouter", `{"error":{"code":400,"message":"no"}}`, judged{class: ClientError, next: no}},
		{"a code as text", "openrouter", `{"error":{"code":"429","message":"slow"}}`, judged{class: RateLimited, next: yes, code: "429"}},
		{"a code beside a text", "openai", `{"error":"slow","status_code":429}`, judged{class: RateLimited, next: yes}},
		{"a code that is no error", "openrouter", `{"error":{"code":200,"message":"no"}}`, judged{class: Broken, next: tried}},
		{"OpenAI's word: a limit", "openai", openLimit, judged{class: RateLimited, next: yes, wait: 20 * s, code: "rate_limit_exceeded"}},
		{"OpenAI's word: quota", "openai", openQuota, judged{class: Quota, next: yes, code: "insufficient_quota"}},
		{"OpenAI's word: the key", "openai", openBadKey, judged{class: AuthRejected, next: yes, code: "invalid_api_key"}},
		{"OpenAI's word: the model", "openai", openLost, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"OpenAI's word: the length", "openai", openTooLong, judged{class: ClientError, next: no, code: "context_length_exceeded"}},
		{"OpenAI's word: the server", "openai", `{"error":{"message":"The server had an error","type":"server_error"}}`, judged{class: Broken, next: tried}},
		{"an error event of a Responses stream", "openai", `{"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}`, judged{class: RateLimited, next: yes, code: "rate_limit_exceeded"}},
		{"Anthropic's event: overloaded", "openai", anthropicBody("overloaded_error", "Overloaded"), judged{class: Broken, next: tried}},
		{"Anthropic's event: a limit", "openai", anthropicBody("rate_limit_error", "slow"), judged{class: RateLimited, next: yes}},
		{"Anthropic's event: the key", "openai", anthropicBody("authentication_error", "invalid x-api-key"), judged{class: AuthRejected, next: yes}},
		{"Anthropic's event: what may not be used", "openai", anthropicBody("permission_error", "no"), judged{class: Forbidden, next: once, modelOnly: true}},
		{"Anthropic's event: the client", "openai", anthropicBody("invalid_request_error", "no"), judged{class: ClientError, next: no}},
		{"Anthropic's event: its own fault", "openai", anthropicBody("api_error", "Internal server error"), judged{class: Broken, next: tried}},
		{"Ollama's text: a weekly limit", "ollama", ollamaLimit, judged{class: Quota, next: yes}},
		{"Ollama's text: a limit for days", "ollama", `{"error":"you've reached your weekly usage limit, it resets in 3 days"}`, judged{class: Quota, next: yes, wait: 3 * day}},
		{"Ollama's text: a limit, as it is told at /v1", "ollama", `{"error":{"message":"you (some one) have reached your session usage limit","type":"api_error","param":null,"code":null}}`, judged{class: Quota, next: yes}},
		{"Ollama's text: a plan", "ollama", ollamaPlan, judged{class: Forbidden, next: tried, modelOnly: true}},
		{"Ollama's text: the model", "ollama", ollamaLost, judged{class: ClientError, next: no, code: ModelNotFound}},
		{"Ollama's text: the key", "ollama", `{"error":"unauthorized"}`, judged{class: AuthRejected, next: yes}},
		{"Ollama's text: too much at once", "ollama", `{"error":"too many concurrent requests, try again in 20s"}`, judged{class: RateLimited, next: yes, wait: 20 * s}},
		{"Ollama's text: the length", "ollama", `{"error":"prompt too long; exceeded max context length by 12 tokens"}`, judged{class: ClientError, next: no}},
		{"Ollama's text: anything else", "ollama", `{"error":"unexpected EOF"}`, judged{class: Broken, next: tried}},
	} {
		t.Run(row.why, func(t *testing.T) {
			d, _ := Lookup(row.dialect)
			v, bad := d.JudgeEvent([]byte(row.data), noon)
			if got := whatMatters(v); got != row.want || !bad {
				t.Errorf("got %v %+v, want %+v", bad, got, row.want)
			}
		})
	}
}

// quotings are how upstreams quote a request in their errors; X is what the client had said.
var quotings = []string{
	"model 'X' not found", `model "X" is not allowed`, "the model `X` does not exist", "unknown model: X", "bad value “X” of n",
	"error parsing tool call: raw='X', err=unexpected end of JSON input", "X", "input 'X' is not accepted",
	"you do not have access to X", "the value is not one of ['a'], got [X]", "cannot parse {X}",
}

// asClientsWish are words that would bench a key if an upstream said them itself.
var asClientsWish = []string{
	"you have reached your weekly usage limit, try again in 20 days", "this api key has been revoked", "insufficient credits",
	"invalid api key", "' your account has been banned '", "` key revoked `", `\" usage limit \" resets at 2026-03-20T00:00:00Z`,
}

// A text that quotes the client's request never benches a key: neither is it held to be dead or used up, nor made to wait for
// longer than a 429 does without a word. (A 400 and a 5xx are not looked at; X alone is what no upstream can be told from.)
func TestWordsOfAClientBenchNoKey(t *testing.T) {
	harmless := func(v Verdict) bool { return v.Class != AuthRejected && v.Class != Quota }
	for _, quoting := range quotings {
		for _, wish := range asClientsWish {
			body := []byte(`{"error":{"message":"` + strings.ReplaceAll(strings.ReplaceAll(quoting, `"`, `\"`), "X", wish) + `"}}`)
			for name, d := range dialects {
				for _, status := range []int{400, 403, 404, 408, 422, 429, 500, 503} {
					if quoting == "X" && (status == 403 || status == 429) {
						continue
					}
					v := d.Judge(status, nil, body, noon)
					if !harmless(v) || status == 429 && strings.ContainsAny(quoting, "'\"`“") && v.RetryAfter != 0 {
						t.Errorf("%s, %d, %s: %v for %v", name, status, body, v.Class, v.RetryAfter)
					}
				}
				if v, _ := d.JudgeEvent(body, noon); quoting != "X" && !harmless(v) {
					t.Errorf("%s, within a 200, %s: %v", name, body, v.Class)
				}
			}
		}
	}
}
