package fakellm

import "strings"

// textCompletions is OpenAI's older POST /v1/completions, which editors still use.
var textCompletions = api{
	asks: asksPermit, read: readText, whole: wholeText, events: textEvents, framing: sse,
}

func readText(body []byte) (prompt, string) {
	var req struct {
		asked
		Prompt        inputs        `json:"prompt"`
		StreamOptions streamOptions `json:"stream_options"`
	}
	problem := decode(body, &req)
	p := req.prompt(false)
	p.includeUsage = req.StreamOptions.IncludeUsage
	p.tokens = req.Prompt.words()
	p.answer = Answer(strings.Join(req.Prompt, "\n"))
	return p, missing(problem, len(req.Prompt) > 0, "prompt is required", req.Model)
}

func wholeText(c completion) any {
	w := c.wire("cmpl-", "text_completion", wireChoice{Text: &c.answer, FinishReason: c.finish()})
	w.Usage = &c.usage
	return w
}

// textEvents are the text in pieces, the reason of its end, the usage if it was
// asked for, and [DONE].
func textEvents(c completion) []event {
	var events []event
	piece := func(text string, finish *string) {
		events = append(events, event{data: mustJSON(c.wire("cmpl-", "text_completion", wireChoice{Text: &text, FinishReason: finish}))})
	}
	for _, p := range c.pieces {
		piece(p, nil)
	}
	piece("", c.finish())
	return append(events, c.usageEvents("cmpl-", "text_completion")...)
}
