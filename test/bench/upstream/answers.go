package upstream

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Key begins every key that this upstream knows. Another one is refused: so a proxy shows that it has put a key of its own in
// the place of the client's credential.
const Key = "sk-upstream-"

// The names of models say what is answered.
const (
	modelWhole = "whole"
	modelIdle  = "idle"
	modelSteps = "steps-" // and then how many events, and how many milliseconds apart
)

// Question is what is asked for, and what has to come of it.
type Question struct {
	Body   []byte        // of the request
	Answer []byte        // all of its body, without chunks
	Events int           // of a stream, [DONE] among them
	Every  time.Duration // between two events
	Open   bool          // after Answer nothing comes, and no end
}

// Whole asks for an answer of 1 KiB.
func Whole() Question {
	return Question{Body: question(modelWhole, false), Answer: whole}
}

// Steps asks for a stream of n events, [DONE] not counted, at an interval.
func Steps(n int, every time.Duration) Question {
	q := Question{Body: question(fmt.Sprintf("%s%d-%d", modelSteps, n, every.Milliseconds()), true), Events: n + 1, Every: every}
	for i := range q.Events {
		q.Answer = append(q.Answer, event(i, n)...)
	}
	return q
}

// Idle asks for a stream that says one thing and then nothing for as long as the client stays.
func Idle() Question {
	return Question{Body: question(modelIdle, true), Answer: event(0, 2), Events: 1, Open: true}
}

func question(model string, stream bool) []byte {
	return fmt.Appendf(nil, `{"model":%q,"stream":%t,"messages":[{"role":"user","content":%q}]}`, model, stream, strings.Repeat("Why? ", 60))
}

const size = 1 << 10 // of an answer that is not a stream

var whole = func() []byte {
	const before = `{"id":"chatcmpl-1","object":"chat.completion","created":1767225600,"model":"whole","choices":[{"index":0,"message":` +
		`{"role":"assistant","content":"`
	const after = `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":64,"completion_tokens":180,"total_tokens":244}}`
	words := strings.Repeat("because ", size/8)[:size-len(before)-len(after)]
	return []byte(before + words + after)
}()

const chunkOfStream = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,\"model\":\"steps\",\"choices\":" +
	"[{\"index\":0,\"delta\":{\"content\":\" because\"},\"finish_reason\":%s}]}\n\n"

var (
	middle = fmt.Appendf(nil, chunkOfStream, "null")
	last   = fmt.Appendf(nil, chunkOfStream, `"stop"`)
	done   = []byte("data: [DONE]\n\n")
)

// event answers the i-th event of n; the n-th is the end.
func event(i, n int) []byte {
	switch i {
	case n:
		return done
	case n - 1:
		return last
	default:
		return middle
	}
}

// asked finds the model in a body that came as question made it.
func asked(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(`"model":"`))
	model, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(model)
}

// steps reads the name of a model back.
func steps(model string) (n int, every time.Duration, ok bool) {
	rest, ok := strings.CutPrefix(model, modelSteps)
	if !ok {
		return 0, 0, false
	}
	count, gap, _ := strings.Cut(rest, "-")
	n, err := strconv.Atoi(count)
	if err != nil {
		return 0, 0, false
	}
	ms, err := strconv.Atoi(gap)
	return n, time.Duration(ms) * time.Millisecond, err == nil
}
