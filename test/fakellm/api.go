package fakellm

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// api is one way to ask a model for something and to be answered. What is
// generated does not depend on it: an API only reads and frames.
type api struct {
	asks   asks
	errors shape
	// read returns what could be read of a body and, unless it can be served, why
	// not.
	read func(body []byte) (p prompt, problem string)
	// whole is the answer as one JSON object.
	whole func(completion) any
	// events are the answer as a stream. The last one says that the answer is
	// whole. An API without events always answers whole.
	events func(completion) []event
	// framing puts the events on the wire.
	framing framing
	// errorEvent is the name of an error in a stream, which is worded like a refusal;
	// or failure words it, behind so many events.
	errorEvent string
	failure    func(c completion, sent int, f fault) event
}

// modelPaths are the paths that want something of a model, with their APIs. What
// asks for a permit is an attempt to the judges.
var modelPaths = map[string]api{
	"/v1/chat/completions":      chatCompletions,
	"/v1/completions":           textCompletions,
	"/v1/embeddings":            embeddings,
	"/v1/responses":             responses,
	"/v1/messages":              anthropicMessages,
	"/v1/messages/count_tokens": anthropicCount,
	"/api/chat":                 ollamaChat,
	"/api/generate":             ollamaGenerate,
	"/api/embed":                ollamaEmbed,
	"/api/embeddings":           ollamaEmbeddings,
}

// costs reports whether a path uses up a key's limits.
func costs(path string) bool {
	for p, a := range modelPaths {
		if a.asks == asksPermit && strings.HasSuffix(path, p) {
			return true
		}
	}
	return false
}

// prompt is what a request wants, whatever its API.
type prompt struct {
	requestID    string
	model        string
	stream       bool
	includeUsage bool
	tokens       int      // of all that was said
	answer       string   // the text to generate, or the arguments of a tool
	tool         string   // the tool to call, if any
	inputs       []string // to be embedded
	base64       bool     // how embeddings are wanted
	load         bool     // Ollama's way to load a model: nothing is asked
}

// asked are the members that all APIs have, or that none of them minds.
type asked struct {
	Model  string `json:"model"`
	Stream *bool  `json:"stream"`
	User   string `json:"user"`
}

// prompt begins one. stream is what the API does when it is not told.
func (a asked) prompt(stream bool) prompt {
	if a.Stream != nil {
		stream = *a.Stream
	}
	return prompt{requestID: a.User, model: a.Model, stream: stream}
}

// decode reads a body and says what is wrong with it, if anything. An empty body
// is the check that costs no token.
func decode(body []byte, req any) (problem string) {
	if len(bytes.TrimSpace(body)) == 0 {
		return "the request body is empty"
	}
	if json.Unmarshal(body, req) != nil {
		return "the request body is no valid JSON for this path"
	}
	return ""
}

// missing is the first thing wrong: the problem so far, that a member is not
// there, or that no model was named.
func missing(problem string, there bool, otherwise, model string) string {
	switch {
	case problem != "":
		return problem
	case !there:
		return otherwise
	case model == "":
		return "model is required"
	}
	return ""
}

// ask serves a request to a model.
func (x *exchange) ask(a api) {
	p, problem := a.read(x.body)
	p.stream = p.stream && a.events != nil
	x.note(func(e *Entry) {
		e.RequestID, e.Model, e.Stream = p.requestID, p.model, p.stream
	})
	if !x.passKey() {
		return
	}
	switch {
	case problem != "":
		x.refuse(fault{status: http.StatusBadRequest, message: problem})
		return
	case !slices.Contains(x.u.cfg.Models, p.model):
		x.refuse(notFound(p.model))
		return
	case x.forbids(p.model):
		x.refuse(fault{status: http.StatusForbidden, message: "this key has no access to model '" + p.model + "'", code: "model_not_found"})
		return
	}

	c := x.complete(p)
	if a.asks == asksPermit {
		x.usage = c.usage
	}
	if !p.stream || p.load || x.verdict.behaviour.HTML {
		x.answer(mustJSON(a.whole(c)))
		return
	}
	x.stream(a, c)
}
