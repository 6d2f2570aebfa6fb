package fakellm

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// Answer is the text that the pretend model gives to a user message.
func Answer(message string) string { return "echo: " + message }

type chatRequest struct {
	Model         string    `json:"model"`
	Messages      []message `json:"messages"`
	Stream        bool      `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	User string `json:"user"`
}

type message struct {
	Role    string `json:"role"`
	Content text   `json:"content"`
}

// text reads a message's content, which is a string or a list of typed parts, of
// which the text ones are joined.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '[' {
		return json.Unmarshal(data, (*string)(t))
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		*t += text(p.Text)
	}
	return nil
}

// chat serves a chat completion.
func (x *exchange) chat() {
	req, err := parseChat(x.body)
	x.note(func(e *Entry) {
		e.RequestID, e.Model, e.Stream = req.User, req.Model, req.Stream
	})
	if !x.passKey() {
		return
	}
	if err != "" {
		x.refuse(fault{status: http.StatusBadRequest, message: err})
		return
	}
	if !slices.Contains(x.u.cfg.Models, req.Model) {
		x.refuse(fault{status: http.StatusNotFound, message: "model '" + req.Model + "' not found", code: "model_not_found"})
		return
	}
	if x.forbids(req.Model) {
		x.refuse(fault{status: http.StatusForbidden, message: "this key has no access to model '" + req.Model + "'", code: "model_not_found"})
		return
	}

	c := x.complete(req)
	if !req.Stream || x.verdict.behaviour.HTML {
		x.answer(mustJSON(c.whole()))
		return
	}
	x.stream(c)
}

// parseChat returns what could be read of a body and, unless it can be served,
// why not. An empty body is the check that costs no token.
func parseChat(body []byte) (req chatRequest, problem string) {
	if len(bytes.TrimSpace(body)) == 0 {
		return req, "the request body is empty"
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return req, "the request body is no valid chat completion"
	}
	if len(req.Messages) == 0 {
		return req, "[] is too short - 'messages'"
	}
	if req.Model == "" {
		return req, "model is required"
	}
	return req, ""
}

// lastUser is the message that the answer echoes.
func (r chatRequest) lastUser() string {
	for _, m := range slices.Backward(r.Messages) {
		if m.Role == "user" {
			return string(m.Content)
		}
	}
	return string(r.Messages[len(r.Messages)-1].Content)
}

// words is this package's tokenizer: simple enough to check by hand.
func words(s string) int { return len(strings.Fields(s)) }
