package provider

import "bytes"

// ReadUsage reads how many tokens one JSON object says were taken: a whole answer, or the event that tells it all.
func ReadUsage(data []byte) (Usage, bool) {
	var r UsageReader
	r.Read(data)
	return r.Usage()
}

// UsageReader gathers what the events of one answer tell of its tokens, in whichever dialect they do. Figures are
// cumulative everywhere: a later one of a kind replaces the earlier one, and a zero replaces nothing, since some tell it
// where they mean that they do not know yet. The zero value is ready. It allocates nothing.
type UsageReader struct {
	told   bool
	prompt uint64 // OpenAI's and Ollama's: all of it
	input  uint64 // Anthropic's: what no cache was asked about; that of a Responses answer is all of it
	stored uint64 // Anthropic's: written to a cache
	cached uint64 // Anthropic's: read from a cache
	output uint64
	total  uint64
}

// Usage answers what was told so far; false: nothing was.
func (r *UsageReader) Usage() (Usage, bool) {
	u := Usage{Input: r.prompt, Output: r.output}
	if u.Input == 0 && r.input > 0 {
		u.Input = r.input + r.stored + r.cached
	}
	if u.Input == 0 && u.Output == 0 { // a bare total is of something that was put in
		u.Input = r.total
	}
	return u, r.told
}

var (
	usageName   = []byte(`"usage"`)
	ollamaNames = []byte(`eval_count"`)
	ofResponses = []byte(`"response.`)
)

// Read takes in one JSON object: the data of an event, a line, or a whole answer. What is no such object tells nothing, and
// neither does any text of an answer: inside of it the quotes are escaped, and only the places where usage belongs are read.
func (r *UsageReader) Read(data []byte) {
	if !MayTellUsage(data) {
		return
	}
	var usage, response, message, kind, prompt, eval []byte
	err := Members(data, MaxAnswerDepth, func(key, value []byte) {
		switch string(key) {
		case "usage":
			usage = value
		case "response":
			response = value
		case "message":
			message = value
		case "type":
			kind = value
		case "prompt_eval_count":
			prompt = value
		case "eval_count":
			eval = value
		}
	})
	if err != nil {
		return
	}
	r.figure(&r.prompt, prompt)
	r.figure(&r.output, eval)
	r.object(usage)
	switch {
	case bytes.HasPrefix(kind, ofResponses):
		r.object(member(response, "usage"))
	case string(kind) == `"message_start"`:
		r.object(member(message, "usage"))
	}
}

// MayTellUsage says whether an event is worth reading for its usage. It keeps nearly all events from being scanned: only the
// last one of a stream tells, and where clients ask for usage, all others have a null in its place.
func MayTellUsage(data []byte) bool {
	for rest := data; ; {
		at := bytes.Index(rest, usageName)
		if at < 0 {
			return bytes.Contains(data, ollamaNames)
		}
		rest = bytes.TrimLeft(rest[at+len(usageName):], ": \t\r\n")
		if !bytes.HasPrefix(rest, []byte("null")) {
			return true
		}
	}
}

// object reads a usage object; null, and anything else, is none.
func (r *UsageReader) object(usage []byte) {
	if len(usage) == 0 || usage[0] != '{' {
		return
	}
	_ = Members(usage, MaxAnswerDepth, func(key, value []byte) { // sound, being a part of what was
		switch string(key) {
		case "prompt_tokens":
			r.figure(&r.prompt, value)
		case "input_tokens":
			r.figure(&r.input, value)
		case "cache_creation_input_tokens":
			r.figure(&r.stored, value)
		case "cache_read_input_tokens":
			r.figure(&r.cached, value)
		case "completion_tokens", "output_tokens":
			r.figure(&r.output, value)
		case "total_tokens":
			r.figure(&r.total, value)
		}
	})
}

// figure takes a count of tokens. What is no whole number that every JSON reader could hold is not one.
func (r *UsageReader) figure(to *uint64, raw []byte) {
	const most = 1 << 53
	var n uint64
	for _, c := range raw {
		if c < '0' || c > '9' {
			return
		}
		if n = n*10 + uint64(c-'0'); n > most {
			return
		}
	}
	if len(raw) == 0 {
		return
	}
	r.told = true
	if n > 0 {
		*to = n
	}
}

// member answers the raw value of a member of an object; nil: there is none.
func member(object []byte, name string) (found []byte) {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	_ = Members(object, MaxAnswerDepth, func(key, value []byte) {
		if string(key) == name {
			found = value
		}
	})
	return found
}
