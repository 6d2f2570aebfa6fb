package provider

import (
	"net/http"
	"time"
)

// ollama is ollama.com and every Ollama server: the OpenAI-compatible API at /v1 and its own at /api. Its limits are told
// in words ("weekly usage limit", "this model requires a subscription"), its errors in both APIs' shapes.
type ollama struct{}

var ollamaRules = rules{}

// URL puts /api beside /v1, wherever the base ends.
func (ollama) URL(base, path string) string { return join(base, path) }

func (ollama) Authorize(h http.Header, key string) { bearer(h, key) }

func (ollama) Judge(status int, h http.Header, body []byte, now time.Time) Verdict {
	return ollamaRules.judge(status, h, readErrorBody(body), now)
}

func (ollama) JudgeEvent(data []byte, now time.Time) (Verdict, bool) {
	return ollamaRules.judgeEvent(data, now)
}

// ModelsPath is public at ollama.com: that it answers proves nothing about the key.
func (ollama) ModelsPath() string { return "/api/tags" }

func (ollama) Models(body []byte) ([]byte, error) { return listModels(body, "library") }

func (ollama) Probe() (method, path string, body []byte) { return probeByEmptyChat() }

func (ollama) JudgeProbe(status int, h http.Header, body []byte, now time.Time) Verdict {
	return ollamaRules.judgeProbe(status, h, body, now, http.StatusBadRequest, http.StatusUnprocessableEntity)
}
