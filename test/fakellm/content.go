package fakellm

import (
	"encoding/json"
	"slices"
)

type message struct {
	Role    string `json:"role"`
	Content text   `json:"content"`
}

type messages []message

// lastUser is the message that the answer echoes.
func (ms messages) lastUser() string {
	for _, m := range slices.Backward(ms) {
		if m.Role == "user" {
			return string(m.Content)
		}
	}
	if len(ms) == 0 {
		return ""
	}
	return string(ms[len(ms)-1].Content)
}

func (ms messages) words() int {
	n := 0
	for _, m := range ms {
		n += words(string(m.Content))
	}
	return n
}

// text reads a message's content, which is a string or a list of typed parts, of
// which the text ones are joined.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		return json.Unmarshal(data, (*string)(t))
	}
	var parts []struct {
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
