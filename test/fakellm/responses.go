package fakellm

import (
	"cmp"
	"encoding/json"
)

// responses is OpenAI's newer POST /v1/responses. Its streams end with
// response.completed and have no [DONE].
var responses = api{
	asks: asksPermit, read: readResponses, whole: wholeResponse, events: responseEvents,
	framing: sse, failure: responseFailure,
}

// turns is a string, which is what the user says, or a list of messages and other
// items, which say nothing here.
type turns messages

func (t *turns) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return json.Unmarshal(data, (*messages)(t))
	}
	var said text
	err := json.Unmarshal(data, &said)
	*t = turns{{Role: "user", Content: said}}
	return err
}

func readResponses(body []byte) (prompt, string) {
	var req struct {
		asked
		Instructions string         `json:"instructions"`
		Input        turns          `json:"input"`
		Tools        []responseTool `json:"tools"`
	}
	problem := decode(body, &req)
	input := messages(req.Input)
	p := req.prompt(false).answering(asFunctions(req.Tools), input)
	p.tokens = words(req.Instructions) + input.words()
	return p, missing(problem, len(input) > 0, "input is required", req.Model)
}

type wireResponse struct {
	ID        string         `json:"id"`
	Object    string         `json:"object"`
	CreatedAt int64          `json:"created_at"`
	Status    string         `json:"status"`
	Error     *responseError `json:"error"` // null on success, as the real one says
	Model     string         `json:"model"`
	Output    []any          `json:"output"` // a responseItem or a responseCall
	Usage     *responseUsage `json:"usage"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type responseItem struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Status  string         `json:"status"`
	Role    string         `json:"role"`
	Content []responsePart `json:"content"`
}

type responsePart struct {
	Type        string   `json:"type"`
	Text        string   `json:"text"`
	Annotations []string `json:"annotations"`
}

type responseUsage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
	TotalTokens  int `json:"total_tokens"`
}

// responseEvent has the members of all events; each kind sets its own.
type responseEvent struct {
	Type           string        `json:"type"`
	SequenceNumber int           `json:"sequence_number"`
	Response       *wireResponse `json:"response,omitempty"`
	ItemID         string        `json:"item_id,omitempty"`
	OutputIndex    *int          `json:"output_index,omitempty"`
	ContentIndex   *int          `json:"content_index,omitempty"`
	Item           any           `json:"item,omitempty"`
	Part           *responsePart `json:"part,omitempty"`
	Delta          *string       `json:"delta,omitempty"`
	Text           *string       `json:"text,omitempty"`
	Arguments      *string       `json:"arguments,omitempty"`
}

func wholeResponse(c completion) any { return c.response("completed") }

func responseEvents(c completion) []event {
	var events []event
	zero, id := 0, "msg_"+c.id
	add := func(e responseEvent) {
		e.SequenceNumber = len(events)
		events = append(events, event{e.Type, mustJSON(e)})
	}
	ofItem := func(kind string, item any) {
		add(responseEvent{Type: "response.output_item." + kind, OutputIndex: &zero, Item: item})
	}
	ofPart := func(e responseEvent) {
		e.ItemID, e.OutputIndex, e.ContentIndex = id, &zero, &zero
		add(e)
	}
	ofCall := func(e responseEvent) {
		e.ItemID, e.OutputIndex = id, &zero
		add(e)
	}
	part, empty := textPart(c.answer), textPart("")

	add(responseEvent{Type: "response.created", Response: c.response("in_progress")})
	add(responseEvent{Type: "response.in_progress", Response: c.response("in_progress")})
	if c.tool != "" {
		ofItem("added", c.functionCall("in_progress", ""))
		for _, piece := range c.pieces {
			ofCall(responseEvent{Type: "response.function_call_arguments.delta", Delta: &piece})
		}
		ofCall(responseEvent{Type: "response.function_call_arguments.done", Arguments: &c.answer})
	} else {
		ofItem("added", responseItem{id, "message", "in_progress", "assistant", []responsePart{}})
		ofPart(responseEvent{Type: "response.content_part.added", Part: &empty})
		for _, piece := range c.pieces {
			ofPart(responseEvent{Type: "response.output_text.delta", Delta: &piece})
		}
		ofPart(responseEvent{Type: "response.output_text.done", Text: &c.answer})
		ofPart(responseEvent{Type: "response.content_part.done", Part: &part})
	}
	ofItem("done", c.item())
	add(responseEvent{Type: "response.completed", Response: c.response("completed")})
	return events
}

// responseFailure is an error event at first; a response that has begun fails as
// such.
func responseFailure(c completion, sent int, f fault) event {
	kind, code := f.openAIKind()
	e := responseError{cmp.Or(code, kind), f.message}
	if sent == 0 {
		return event{"error", mustJSON(struct {
			Type string `json:"type"`
			responseError
			Param          *string `json:"param"`
			SequenceNumber int     `json:"sequence_number"`
		}{Type: "error", responseError: e})}
	}
	failed := c.response("failed")
	failed.Error = &e
	return event{"response.failed", mustJSON(responseEvent{Type: "response.failed", SequenceNumber: sent, Response: failed})}
}

// response has its output and usage once it is completed.
func (c completion) response(status string) *wireResponse {
	r := &wireResponse{
		ID: "resp_" + c.id, Object: "response", CreatedAt: c.created.Unix(),
		Status: status, Model: c.model, Output: []any{},
	}
	if status == "completed" {
		r.Output = append(r.Output, c.item())
		r.Usage = &responseUsage{c.usage.PromptTokens, c.usage.CompletionTokens, c.usage.TotalTokens}
	}
	return r
}

func (c completion) item() any {
	if c.tool != "" {
		return c.functionCall("completed", c.answer)
	}
	return responseItem{"msg_" + c.id, "message", "completed", "assistant", []responsePart{textPart(c.answer)}}
}

func textPart(text string) responsePart {
	return responsePart{Type: "output_text", Text: text, Annotations: []string{}}
}
