package fakellm

import "encoding/json"

// anthropicTool is how Anthropic's clients offer a tool.
type anthropicTool struct {
	Name        string          `json:"name"`
	InputSchema json.RawMessage `json:"input_schema"`
}

func asTools(theirs []anthropicTool) []tool {
	tools := make([]tool, len(theirs))
	for i, t := range theirs {
		tools[i].Function.Name, tools[i].Function.Parameters = t.Name, t.InputSchema
	}
	return tools
}

// anthropicBlock is a piece of a message, or what a stream adds to one: a text, or the
// call of a tool, whose arguments are an object, and in a stream the pieces of its text.
type anthropicBlock struct {
	Type        string          `json:"type"`
	Text        *string         `json:"text,omitempty"`
	ID          string          `json:"id,omitempty"`
	Name        string          `json:"name,omitempty"`
	Input       json.RawMessage `json:"input,omitempty"`
	PartialJSON *string         `json:"partial_json,omitempty"`
}

func (c completion) block() anthropicBlock {
	if c.tool == "" {
		return anthropicBlock{Type: "text", Text: &c.answer}
	}
	return anthropicBlock{Type: "tool_use", ID: "toolu_" + c.id, Name: c.tool, Input: json.RawMessage(c.answer)}
}

// emptyBlock is the block before anything was generated.
func (c completion) emptyBlock() anthropicBlock {
	if c.tool != "" {
		c.answer = "{}"
		return c.block()
	}
	c.answer = ""
	return c.block()
}

func (c completion) blockDelta(piece string) anthropicBlock {
	if c.tool == "" {
		return anthropicBlock{Type: "text_delta", Text: &piece}
	}
	return anthropicBlock{Type: "input_json_delta", PartialJSON: &piece}
}

func (c completion) stopReason() string {
	if c.tool == "" {
		return "end_turn"
	}
	return "tool_use"
}
