package fakellm

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Answer is the text that the pretend model gives to a user message, by any API.
func Answer(message string) string { return "echo: " + message }

// completion is the model's answer before it is put on the wire.
type completion struct {
	prompt
	id      string // the ledger's Seq: an answer can be traced to the one attempt that made it
	created time.Time
	pieces  []string // of the answer, for a stream
	usage   usage
}

type usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// complete makes the answer. A token is a word.
func (x *exchange) complete(p prompt) completion {
	made := words(p.answer)
	return completion{
		prompt:  p,
		id:      strconv.FormatInt(x.seq, 10),
		created: x.u.cfg.Now(),
		pieces:  cutUp(p.answer, cmp.Or(x.verdict.behaviour.Chunks, defaultChunks)),
		usage:   usage{p.tokens, made, p.tokens + made},
	}
}

// words is this package's tokenizer: simple enough to check by hand.
func words(s string) int { return len(strings.Fields(s)) }

func cutUp(s string, into int) []string {
	runes := []rune(s)
	pieces := make([]string, into)
	for i := range pieces {
		pieces[i] = string(runes[i*len(runes)/into : (i+1)*len(runes)/into])
	}
	return pieces
}
