package provider

import (
	"net/http"
	"time"
)

// openAI is OpenAI and whoever speaks like it.
type openAI struct{}

var openAIRules = rules{}

func (openAI) URL(base, path string) string { return join(base, path) }

func (openAI) Authorize(h http.Header, key string) { bearer(h, key) }

func (openAI) Judge(status int, h http.Header, body []byte, now time.Time) Verdict {
	return openAIRules.judge(status, h, readErrorBody(body), now)
}

func (openAI) JudgeEvent(data []byte, now time.Time) (Verdict, bool) {
	return openAIRules.judgeEvent(data, now)
}

func (openAI) ModelsPath() string { return "/v1/models" }

func (openAI) Models(body []byte) ([]byte, error) { return listModels(body, "openai") }

func (openAI) Probe() (method, path string, body []byte) { return probeByEmptyChat() }

func (openAI) JudgeProbe(status int, h http.Header, body []byte, now time.Time) Verdict {
	return openAIRules.judgeProbe(status, h, body, now, http.StatusBadRequest, http.StatusUnprocessableEntity)
}
