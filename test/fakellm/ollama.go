package fakellm

import (
	"encoding/json"
	"time"
)

// Ollama's own API. It streams unless it is told not to, in lines of JSON of which
// the last one is done.
var (
	ollamaChat     = ollamaAPI(readOllamaChat, ollamaMessage)
	ollamaGenerate = ollamaAPI(readOllamaGenerate, ollamaResponse)
)

func ollamaAPI(read func([]byte) (prompt, string), put func(*ollamaLine, completion, string)) api {
	line := func(c completion, text string) ollamaLine {
		l := ollamaLine{Model: c.model, CreatedAt: c.created.UTC()}
		put(&l, c, text)
		return l
	}
	return api{
		asks: asksPermit, errors: ollamaShape, read: read, framing: ndjson,
		whole: func(c completion) any { return line(c, c.answer).finished(c) },
		events: func(c completion) []event {
			if c.tool != "" { // a call comes in one piece
				c.pieces = []string{c.answer}
			}
			var events []event
			for _, piece := range c.pieces {
				events = append(events, event{data: mustJSON(line(c, piece))})
			}
			return append(events, event{data: mustJSON(line(c, "").finished(c))})
		},
	}
}

func readOllamaChat(body []byte) (prompt, string) {
	var req struct {
		asked
		Messages messages `json:"messages"`
		Tools    []tool   `json:"tools"`
	}
	problem := decode(body, &req)
	p := req.prompt(true).answering(req.Tools, req.Messages)
	p.tokens = req.Messages.words()
	return p.orLoad(len(req.Messages) == 0), missing(problem, true, "", req.Model)
}

func readOllamaGenerate(body []byte) (prompt, string) {
	var req struct {
		asked
		System string `json:"system"`
		Prompt string `json:"prompt"`
	}
	problem := decode(body, &req)
	p := req.prompt(true)
	p.answer, p.tokens = Answer(req.Prompt), words(req.System)+words(req.Prompt)
	return p.orLoad(req.Prompt == ""), missing(problem, true, "", req.Model)
}

// orLoad answers nothing to who says nothing: that wants the model loaded.
func (p prompt) orLoad(nothing bool) prompt {
	if p.load = nothing; nothing {
		p.answer = ""
	}
	return p
}

type ollamaLine struct {
	Model      string             `json:"model"`
	CreatedAt  time.Time          `json:"created_at"`
	Message    *ollamaLineMessage `json:"message,omitempty"`
	Response   *string            `json:"response,omitempty"`
	Done       bool               `json:"done"`
	DoneReason string             `json:"done_reason,omitempty"`
	ollamaMetrics
}

type ollamaLineMessage struct {
	Role      string       `json:"role"`
	Content   string       `json:"content"`
	ToolCalls []ollamaCall `json:"tool_calls,omitempty"`
}

// ollamaCall has its arguments as an object, where OpenAI has a text.
type ollamaCall struct {
	Function ollamaFunction `json:"function"`
}

type ollamaFunction struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

type ollamaMetrics struct {
	TotalDuration      time.Duration `json:"total_duration,omitempty"`
	LoadDuration       time.Duration `json:"load_duration,omitempty"`
	PromptEvalCount    int           `json:"prompt_eval_count,omitempty"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration,omitempty"`
	EvalCount          int           `json:"eval_count,omitempty"`
	EvalDuration       time.Duration `json:"eval_duration,omitempty"`
}

func ollamaMessage(l *ollamaLine, c completion, text string) {
	l.Message = &ollamaLineMessage{Role: "assistant", Content: text}
	if c.tool != "" && text != "" {
		l.Message.Content = ""
		l.Message.ToolCalls = []ollamaCall{{ollamaFunction{c.tool, json.RawMessage(text)}}}
	}
}

func ollamaResponse(l *ollamaLine, _ completion, text string) { l.Response = &text }

func (l ollamaLine) finished(c completion) ollamaLine {
	l.Done, l.DoneReason = true, "stop"
	if c.load {
		l.DoneReason = "load"
		return l
	}
	l.ollamaMetrics = metrics(c.usage)
	return l
}

// metrics pretends that a token takes a millisecond, and loading one more.
func metrics(u usage) ollamaMetrics {
	const each = time.Millisecond
	read, made := time.Duration(u.PromptTokens)*each, time.Duration(u.CompletionTokens)*each
	return ollamaMetrics{each + read + made, each, u.PromptTokens, read, u.CompletionTokens, made}
}
