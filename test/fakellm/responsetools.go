package fakellm

import "encoding/json"

// responseTool is how clients of /v1/responses offer a tool: without the object around
// its function.
type responseTool struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
}

func asFunctions(theirs []responseTool) []tool {
	tools := make([]tool, len(theirs))
	for i, t := range theirs {
		tools[i].Function.Name, tools[i].Function.Parameters = t.Name, t.Parameters
	}
	return tools
}

// responseCall is an item of a response that calls a tool.
type responseCall struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func (c completion) functionCall(status, arguments string) responseCall {
	return responseCall{"msg_" + c.id, "function_call", status, "call_" + c.id, c.tool, arguments}
}
