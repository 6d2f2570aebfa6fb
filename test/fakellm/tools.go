package fakellm

import (
	"encoding/json"
	"strings"
)

type tool struct {
	Function struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"function"`
}

type wireCall struct {
	Index    int          `json:"index"`
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

// callTool calls the first tool if the last message is a user's that says "tool".
// A tool's result comes as a message of its own, so that the next answer is text.
func callTool(tools []tool, ms messages) (name, arguments string) {
	if len(tools) == 0 || len(ms) == 0 {
		return "", ""
	}
	last := ms[len(ms)-1]
	if last.Role != "user" || !strings.Contains(string(last.Content), "tool") {
		return "", ""
	}
	f := tools[0].Function
	return f.Name, ToolArguments(f.Parameters, string(last.Content))
}

// answering is what a chat is answered: a tool's arguments, or an echo.
func (p prompt) answering(tools []tool, ms messages) prompt {
	p.tool, p.answer = callTool(tools, ms)
	if p.tool == "" {
		p.answer = Answer(ms.lastUser())
	}
	return p
}

func (c completion) call(arguments string) wireCall {
	return wireCall{ID: "call_" + c.id, Type: "function", Function: wireFunction{c.tool, arguments}}
}

// ToolArguments are what the pretend model passes to a tool with this JSON schema:
// a value for each required property. A string is the user's message, or the first
// of those allowed; a number is 1, a boolean true, anything else null.
func ToolArguments(schema []byte, message string) string {
	var s struct {
		Required   []string `json:"required"`
		Properties map[string]struct {
			Type string   `json:"type"`
			Enum []string `json:"enum"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(schema, &s) // of what cannot be read nothing is required
	arguments := map[string]any{}
	for _, name := range s.Required {
		p := s.Properties[name]
		switch {
		case len(p.Enum) > 0:
			arguments[name] = p.Enum[0]
		case p.Type == "string":
			arguments[name] = message
		case p.Type == "number", p.Type == "integer":
			arguments[name] = 1
		case p.Type == "boolean":
			arguments[name] = true
		default:
			arguments[name] = nil
		}
	}
	return string(mustJSON(arguments))
}
