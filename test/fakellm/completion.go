package fakellm

import "strconv"

// completion is the model's answer before it is put on the wire.
type completion struct {
	id           string
	created      int64
	model        string
	text         string
	usage        usage
	includeUsage bool
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
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
	Message      *wireMessage `json:"message,omitempty"`
	Delta        *wireMessage `json:"delta,omitempty"`
	FinishReason *string      `json:"finish_reason"`
}

type wireMessage struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

var stop = "stop"

// complete makes the answer. Its id is made of the ledger's Seq, so that an answer
// can be traced to the one attempt that made it; a token is a word.
func (x *exchange) complete(req chatRequest) completion {
	c := completion{
		id:           "chatcmpl-" + strconv.FormatInt(x.seq, 10),
		created:      x.u.cfg.Now().Unix(),
		model:        req.Model,
		text:         Answer(req.lastUser()),
		includeUsage: req.StreamOptions.IncludeUsage,
	}
	for _, m := range req.Messages {
		c.usage.PromptTokens += words(string(m.Content))
	}
	c.usage.CompletionTokens = words(c.text)
	c.usage.TotalTokens = c.usage.PromptTokens + c.usage.CompletionTokens
	x.usage = c.usage
	return c
}

// whole is the answer as one JSON object.
func (c completion) whole() wireCompletion {
	w := c.object("chat.completion")
	w.Choices = []wireChoice{{Message: &wireMessage{"assistant", &c.text}, FinishReason: &stop}}
	w.Usage = &c.usage
	return w
}

// events is the answer as a stream's events, without [DONE]: the role, the text in
// pieces, the reason of its end, and the usage if it was asked for.
func (c completion) events(chunks int) [][]byte {
	empty := ""
	events := [][]byte{c.delta(wireMessage{"assistant", &empty}, nil)}
	runes := []rune(c.text)
	for i := range chunks {
		piece := string(runes[i*len(runes)/chunks : (i+1)*len(runes)/chunks])
		events = append(events, c.delta(wireMessage{Content: &piece}, nil))
	}
	events = append(events, c.delta(wireMessage{}, &stop))
	if c.includeUsage {
		w := c.object("chat.completion.chunk")
		w.Choices = []wireChoice{}
		w.Usage = &c.usage
		events = append(events, event(mustJSON(w)))
	}
	return events
}

func (c completion) delta(m wireMessage, finish *string) []byte {
	w := c.object("chat.completion.chunk")
	w.Choices = []wireChoice{{Delta: &m, FinishReason: finish}}
	return event(mustJSON(w))
}

func (c completion) object(kind string) wireCompletion {
	return wireCompletion{ID: c.id, Object: kind, Created: c.created, Model: c.model}
}
