package fakellm

import (
	"maps"
	"slices"
	"time"
)

// Behaviour says how one key behaves. The zero value serves every request.
//
// A key misbehaves in one way at a time: at most one of Status (300 and up),
// Hang, Reset, FirstEventError, ErrorAfter, TruncateAfter, EndEarlyAfter, HTML
// and EmptyStream may be set; Validate tells. In JSON, durations are strings
// such as "250ms".
type Behaviour struct {
	// Status is the HTTP status to answer: 0 or 200 serve, 300 to 599 refuse.
	Status int `json:"status,omitempty"`
	// RetryAfter is the value of the Retry-After header of a refusal, sent as it
	// is, sense or nonsense. OpenRouter repeats it in its error's metadata.
	RetryAfter string `json:"retry_after,omitempty"`
	// ResetIn tells, with a refusal, when the limit resets, each in its own way:
	// OpenAI by x-ratelimit-reset-requests (a duration), OpenRouter by
	// X-RateLimit-Reset (epoch milliseconds), Ollama by a date in the message,
	// Anthropic's paths by anthropic-ratelimit-requests-reset (a date).
	ResetIn time.Duration `json:"reset_in,omitempty"`
	// Body replaces the answer's body, byte for byte: of a refusal, of an HTML page,
	// of an in-band error (the event's data), or else of the 200 itself.
	Body string `json:"body,omitempty"`
	// Header is added to the answer and wins over what would be sent otherwise.
	Header map[string]string `json:"headers,omitempty"`

	// Delay is waited before the headers are sent.
	Delay time.Duration `json:"delay,omitempty"`
	// Hang never answers; it lasts until the client leaves.
	Hang bool `json:"hang,omitempty"`
	// Reset cuts the connection instead of answering.
	Reset bool `json:"reset,omitempty"`

	// FirstEventError answers 200 and then an error: as the first event of a stream,
	// or as the top-level member of a JSON answer.
	FirstEventError bool `json:"first_event_error,omitempty"`
	// ErrorAfter sends this many events, then an error event, and ends without the
	// last event. A JSON answer is as with FirstEventError.
	//
	// The last event is what says that a stream is whole: [DONE],
	// response.completed, message_stop or the line that is done. It is not counted
	// here, nor below.
	ErrorAfter int `json:"error_after,omitempty"`
	// ErrorCode is the code inside an in-band error, 400 to 599; 0 means 502.
	ErrorCode int `json:"error_code,omitempty"`
	// TruncateAfter sends this many events and cuts the connection. A JSON answer is
	// cut in its middle, with the Content-Length of the whole.
	TruncateAfter int `json:"truncate_after,omitempty"`
	// EndEarlyAfter sends this many events and ends cleanly without the last event.
	// Of a JSON answer the first half is sent as if it were whole.
	EndEarlyAfter int `json:"end_early_after,omitempty"`
	// HTML answers 200 with a web page.
	HTML bool `json:"html,omitempty"`
	// EmptyStream answers 200 and not a single event, or an empty body.
	EmptyStream bool `json:"empty_stream,omitempty"`

	// Comments is the number of ": OPENROUTER PROCESSING" comments before the first
	// event of a stream, 0 to 100000. Ollama's lines have no comments: there each is a
	// silence as long as ChunkInterval.
	Comments int `json:"comments,omitempty"`
	// Chunks is the number of content events in a stream, up to 100000; 0 means 3.
	// Some are empty if the text has fewer characters.
	Chunks int `json:"chunks,omitempty"`
	// ChunkInterval is waited between any two things sent on a stream: comments,
	// events, the last event.
	ChunkInterval time.Duration `json:"chunk_interval,omitempty"`

	// Times limits all of the above to the first n requests; then the key serves
	// normally, still within Limits. 0 means for ever. A turn of Times or Script is
	// taken by each request to a model, each count of tokens and each
	// GET /api/v1/key, probes included.
	Times int `json:"times,omitempty"`
	// Script is one behaviour per request in turn; the last one repeats. It stands
	// alone beside Limits, and its steps have no Times, Script, Limits or
	// CoolUntilRetryAfter.
	Script []Behaviour `json:"script,omitempty"`
	// CoolUntilRetryAfter makes a refusal honest: counted from the first one, the key
	// refuses until RetryAfter (or else ResetIn) has passed, tells the time that is
	// left, and serves normally from that instant on.
	CoolUntilRetryAfter bool `json:"cool_until_retry_after,omitempty"`

	// ForbidModels answers 403 for these models only.
	ForbidModels []string `json:"forbid_models,omitempty"`
	// Limits are enforced with 429 before anything else is looked at.
	Limits Limits `json:"limits,omitzero"`
	// Account is whose key it is: what Limits count and when CoolUntilRetryAfter
	// began is the same for all keys of an account. Empty: the key is alone.
	Account string `json:"account,omitempty"`
}

// Limits are what a key may do; requests to a model count, by any API, with or
// without a valid body. A request refused for a limit uses up nothing: no permit,
// no turn of Times or Script.
type Limits struct {
	// RequestsPerMinute is how many requests may start in any 60 seconds, as a true
	// sliding window: a request leaves it exactly 60 s after its start. 0 means any.
	RequestsPerMinute int `json:"requests_per_minute,omitempty"`
	// MaxConcurrent is how many requests may be under way at once. 0 means any.
	MaxConcurrent int `json:"max_concurrent,omitempty"`
}

const (
	defaultChunks = 3
	maxChunks     = 100_000
)

// clone returns a copy that shares nothing with the caller.
func (b Behaviour) clone() Behaviour {
	b.Header = maps.Clone(b.Header)
	b.ForbidModels = slices.Clone(b.ForbidModels)
	b.Script = slices.Clone(b.Script)
	for i := range b.Script {
		b.Script[i] = b.Script[i].clone()
	}
	return b
}

func (b Behaviour) refuses() bool { return b.Status >= 300 }

func (b Behaviour) errsInBand() bool { return b.FirstEventError || b.ErrorAfter > 0 }
