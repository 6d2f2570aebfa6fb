package fakellm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// How a request ended. An entry without an outcome is still under way.
const (
	// Completed: a 200 that was sent whole.
	Completed = "completed"
	// Refused: any status but 200.
	Refused = "refused"
	// Broken: a 200 that is no answer: an in-band error, a web page, nothing at all,
	// or an end before the last event.
	Broken = "broken"
	// Cut: the provider cut the connection.
	Cut = "cut"
	// Canceled: the client left first, or the provider's server was stopped.
	Canceled = "canceled"
)

// Entry is what the provider saw of one request, on any path.
type Entry struct {
	// Seq counts requests from 1 in the order of arrival.
	Seq int64 `json:"seq"`
	// Start is when the request's headers had arrived.
	Start time.Time `json:"start"`
	// End is just before the last piece of the answer was sent, or when the
	// client's leaving was noticed; zero while the request is under way.
	End time.Time `json:"end,omitzero"`
	// Key is the whole credential, empty if there was none.
	Key string `json:"key"`
	// RequestID is the body's "user", or Anthropic's metadata.user_id: a test gives
	// each of its requests its own.
	RequestID string `json:"request_id,omitempty"`
	Path      string `json:"path"`
	Model     string `json:"model,omitempty"`
	Stream    bool   `json:"stream,omitempty"`
	// Probe: the User-Agent contains "(probe)".
	Probe bool `json:"probe,omitempty"`
	// Status is the HTTP status sent, 0 before that or if none was.
	Status int `json:"status,omitempty"`
	// Outcome is Completed, Refused, Broken, Cut, Canceled, or empty while under way.
	Outcome string `json:"outcome,omitempty"`
	// Violation is a fault of the sender that the provider noticed by itself.
	Violation string `json:"violation,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	// Events counts the events or lines of the answer sent; not comments, errors and
	// the last event, which says that the answer is whole.
	Events int `json:"events,omitempty"`
	// PromptTokens and CompletionTokens are the usage of a completed answer, whether
	// or not the client asked to be told. A count of tokens uses none.
	PromptTokens     int `json:"prompt_tokens,omitempty"`
	CompletionTokens int `json:"completion_tokens,omitempty"`

	// Headers are the request's, with Host, and Query its raw query, if
	// Config.KeepHeaders. Do not change them.
	Headers http.Header `json:"headers,omitempty"`
	Query   string      `json:"query,omitempty"`
	// Body is the request's and Answer what was sent in return, if Config.KeepBodies.
	// Do not change them.
	Body   []byte `json:"body,omitempty"`
	Answer []byte `json:"answer,omitempty"`
}

// Ledger returns a copy of all entries in order of Seq, those under way included.
func (u *Upstream) Ledger() []Entry {
	u.mu.Lock()
	defer u.mu.Unlock()
	entries := make([]Entry, len(u.entries))
	for i, e := range u.entries {
		entries[i] = *e
	}
	return entries
}

// LedgerErr returns the first failure to write to Config.Ledger. A test that
// reads that ledger must look: a judge that lost its notes has no verdict.
func (u *Upstream) LedgerErr() error {
	u.outMu.Lock()
	defer u.outMu.Unlock()
	return u.outErr
}

func (u *Upstream) writeLine(e Entry) {
	if u.cfg.Ledger == nil {
		return
	}
	line, err := json.Marshal(e)
	u.outMu.Lock()
	defer u.outMu.Unlock()
	if err == nil {
		_, err = u.cfg.Ledger.Write(append(line, '\n'))
	}
	if err != nil && u.outErr == nil {
		u.outErr = fmt.Errorf("write entry %d to the ledger: %w", e.Seq, err)
	}
}
