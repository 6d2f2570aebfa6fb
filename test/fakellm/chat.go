package fakellm

// chatCompletions is OpenAI's POST /v1/chat/completions.
var chatCompletions = api{
	asks: asksPermit, read: readChat, whole: wholeChat, events: chatEvents, framing: sse,
}

type streamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

func readChat(body []byte) (prompt, string) {
	var req struct {
		asked
		Messages      messages      `json:"messages"`
		StreamOptions streamOptions `json:"stream_options"`
		Tools         []tool        `json:"tools"`
	}
	problem := decode(body, &req)
	p := req.prompt(false).answering(req.Tools, req.Messages)
	p.includeUsage = req.StreamOptions.IncludeUsage
	p.tokens = req.Messages.words()
	return p, missing(problem, len(req.Messages) > 0, "[] is too short - 'messages'", req.Model)
}

type wireCompletion struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []wireChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitempty"`
}

type wireChoice struct {
	Index        int          `json:"index"`
	Text         *string      `json:"text,omitempty"`
	Message      *wireMessage `json:"message,omitempty"`
	Delta        *wireMessage `json:"delta,omitempty"`
	FinishReason *string      `json:"finish_reason"`
}

type wireMessage struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	ToolCalls []wireCall `json:"tool_calls,omitempty"`
}

// done is the last event of OpenAI's streams.
var done = event{data: []byte("[DONE]")}

func wholeChat(c completion) any {
	m := wireMessage{Role: "assistant", Content: &c.answer}
	if c.tool != "" {
		m = wireMessage{"assistant", new(string), []wireCall{c.call(c.answer)}}
	}
	w := c.wire("chatcmpl-", "chat.completion", wireChoice{Message: &m, FinishReason: c.finish()})
	w.Usage = &c.usage
	return w
}

// chatEvents are the role, the text in pieces, the reason of its end, the usage if
// it was asked for, and [DONE].
func chatEvents(c completion) []event {
	delta := func(m wireMessage, finish *string) event {
		return event{data: mustJSON(c.wire("chatcmpl-", "chat.completion.chunk", wireChoice{Delta: &m, FinishReason: finish}))}
	}
	first := wireMessage{Role: "assistant", Content: new(string)}
	if c.tool != "" {
		first.ToolCalls = []wireCall{c.call("")}
	}
	events := []event{delta(first, nil)}
	for _, piece := range c.pieces {
		m := wireMessage{Content: &piece}
		if c.tool != "" {
			m = wireMessage{ToolCalls: []wireCall{{Function: wireFunction{Arguments: piece}}}}
		}
		events = append(events, delta(m, nil))
	}
	events = append(events, delta(wireMessage{}, c.finish()))
	return append(events, c.usageEvents("chatcmpl-", "chat.completion.chunk")...)
}

// usageEvents end a stream of OpenAI's older APIs.
func (c completion) usageEvents(prefix, object string) []event {
	if !c.includeUsage {
		return []event{done}
	}
	w := c.wire(prefix, object)
	w.Choices, w.Usage = []wireChoice{}, &c.usage
	return []event{{data: mustJSON(w)}, done}
}

func (c completion) wire(prefix, object string, choices ...wireChoice) wireCompletion {
	return wireCompletion{ID: prefix + c.id, Object: object, Created: c.created.Unix(), Model: c.model, Choices: choices}
}

func (c completion) finish() *string {
	reason := "stop"
	if c.tool != "" {
		reason = "tool_calls"
	}
	return &reason
}
