package fakellm

import "cmp"

// anthropicMessages is Anthropic's POST /v1/messages. Its streams end with
// message_stop and have no [DONE].
var anthropicMessages = api{
	asks: asksPermit, errors: anthropicShape, read: readMessages, whole: wholeMessage,
	events: messageEvents, framing: sse, errorEvent: "error",
}

// anthropicCount is POST /v1/messages/count_tokens, which wants a good key and
// costs nothing.
var anthropicCount = api{
	asks: asksKey, errors: anthropicShape, read: readCount,
	whole: func(c completion) any { return map[string]int{"input_tokens": c.tokens} },
}

type messagesRequest struct {
	asked
	MaxTokens int             `json:"max_tokens"`
	System    text            `json:"system"`
	Messages  messages        `json:"messages"`
	Tools     []anthropicTool `json:"tools"`
	Metadata  struct {
		UserID string `json:"user_id"`
	} `json:"metadata"`
}

func readMessages(body []byte) (prompt, string) {
	req, p, problem := parseMessages(body)
	if problem == "" && req.MaxTokens <= 0 {
		problem = "max_tokens: Field required"
	}
	return p, problem
}

func readCount(body []byte) (prompt, string) {
	_, p, problem := parseMessages(body)
	return p, problem
}

func parseMessages(body []byte) (messagesRequest, prompt, string) {
	var req messagesRequest
	problem := decode(body, &req)
	p := req.prompt(false).answering(asTools(req.Tools), req.Messages)
	p.requestID = cmp.Or(p.requestID, req.Metadata.UserID)
	p.tokens = words(string(req.System)) + req.Messages.words()
	return req, p, missing(problem, len(req.Messages) > 0, "messages: at least one message is required", req.Model)
}

type wireAnthropic struct {
	ID           string           `json:"id"`
	Type         string           `json:"type"`
	Role         string           `json:"role"`
	Model        string           `json:"model"`
	Content      []anthropicBlock `json:"content"`
	StopReason   *string          `json:"stop_reason"`
	StopSequence *string          `json:"stop_sequence"`
	Usage        anthropicUsage   `json:"usage"`
}

type anthropicUsage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
}

type anthropicStop struct {
	StopReason   string  `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

// anthropicEvent has the members of all events; each kind sets its own.
type anthropicEvent struct {
	Type         string          `json:"type"`
	Message      *wireAnthropic  `json:"message,omitempty"`
	Index        *int            `json:"index,omitempty"`
	ContentBlock *anthropicBlock `json:"content_block,omitempty"`
	Delta        any             `json:"delta,omitempty"`
	Usage        *anthropicUsage `json:"usage,omitempty"`
}

func wholeMessage(c completion) any {
	stop := c.stopReason()
	m := c.anthropic()
	m.Content, m.StopReason = []anthropicBlock{c.block()}, &stop
	m.Usage.OutputTokens = c.usage.CompletionTokens
	return m
}

func messageEvents(c completion) []event {
	var events []event
	add := func(e anthropicEvent) { events = append(events, event{e.Type, mustJSON(e)}) }
	zero, start, block := 0, c.anthropic(), c.emptyBlock()
	add(anthropicEvent{Type: "message_start", Message: &start})
	add(anthropicEvent{Type: "content_block_start", Index: &zero, ContentBlock: &block})
	add(anthropicEvent{Type: "ping"})
	for _, piece := range c.pieces {
		add(anthropicEvent{Type: "content_block_delta", Index: &zero, Delta: c.blockDelta(piece)})
	}
	add(anthropicEvent{Type: "content_block_stop", Index: &zero})
	add(anthropicEvent{
		Type: "message_delta", Delta: anthropicStop{StopReason: c.stopReason()},
		Usage: &anthropicUsage{c.usage.PromptTokens, c.usage.CompletionTokens},
	})
	add(anthropicEvent{Type: "message_stop"})
	return events
}

// anthropic is the message before anything was generated.
func (c completion) anthropic() wireAnthropic {
	return wireAnthropic{
		ID: "msg_" + c.id, Type: "message", Role: "assistant", Model: c.model,
		Content: []anthropicBlock{}, Usage: anthropicUsage{InputTokens: c.usage.PromptTokens},
	}
}
