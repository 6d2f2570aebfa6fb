package fakellm

import (
	"encoding/json"
	"fmt"
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

// inputs reads what is to be completed or embedded: a string, a list of strings,
// or one or more lists of tokens, whose text is then such as "[1 2 3]".
type inputs []string

func (in *inputs) UnmarshalJSON(data []byte) error {
	if data[0] != '[' {
		var one *string
		err := json.Unmarshal(data, &one)
		if one != nil {
			*in = inputs{*one}
		}
		return err
	}
	if json.Unmarshal(data, (*[]string)(in)) == nil {
		return nil
	}
	var tokens []int
	if json.Unmarshal(data, &tokens) == nil {
		*in = inputs{fmt.Sprint(tokens)}
		return nil
	}
	var lists [][]int
	err := json.Unmarshal(data, &lists)
	*in = nil
	for _, tokens := range lists {
		*in = append(*in, fmt.Sprint(tokens))
	}
	return err
}

func (in inputs) words() int {
	n := 0
	for _, s := range in {
		n += words(s)
	}
	return n
}
