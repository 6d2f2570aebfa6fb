package provider

import (
	"net/http"
	"time"
)

// openRouter is openrouter.ai. Its error code is a number, the HTTP status or the one it would have been; its usual 403 is
// about the prompt; its 429 often speaks of the provider behind it.
type openRouter struct{}

var openRouterRules = rules{forbiddenIsContent: true}

func (openRouter) URL(base, path string) string { return join(base, path) }

func (openRouter) Authorize(h http.Header, key string) { bearer(h, key) }

func (openRouter) Judge(status int, h http.Header, body []byte, now time.Time) Verdict {
	return openRouterRules.judge(status, h, readErrorBody(body), now)
}

func (openRouter) JudgeEvent(data []byte, now time.Time) (Verdict, bool) {
	return openRouterRules.judgeEvent(data, now)
}

// ModelsPath is public: that it answers proves nothing about the key.
func (openRouter) ModelsPath() string { return "/v1/models" }

func (openRouter) Models(body []byte) ([]byte, error) { return listModels(body, "openrouter") }

// Probe asks for the key's own record, which is free and needs a good key.
func (openRouter) Probe() (method, path string, body []byte) { return http.MethodGet, "/v1/key", nil }

func (openRouter) JudgeProbe(status int, h http.Header, body []byte, now time.Time) Verdict {
	return openRouterRules.judgeProbe(status, h, body, now)
}
