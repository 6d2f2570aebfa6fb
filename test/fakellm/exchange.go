package fakellm

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// maxBody is above what any proxy under test lets through, in bytes.
const maxBody = 64 << 20

// exchange is one request on its way to an outcome. It belongs to the goroutine
// that serves the request; only entry and verdict.permit are shared, under
// Upstream.mu.
type exchange struct {
	u       *Upstream
	w       http.ResponseWriter
	r       *http.Request
	shape   shape // of errors
	verdict verdict
	body    []byte
	seq     int64
	key     string
	ended   bool
	usage   usage        // what a completed answer costs
	sent    bytes.Buffer // what was sent so far, if bodies are kept
	entry   *Entry
}

// begin judges the key and opens the ledger entry, in one step: a limit is
// judged at exactly the time that the ledger shows.
func (u *Upstream) begin(w http.ResponseWriter, r *http.Request, rt route) *exchange {
	key, fault := credential(r)
	e := &Entry{
		Key:       key,
		Path:      r.URL.Path,
		UserAgent: r.UserAgent(),
		Probe:     strings.Contains(r.UserAgent(), "(probe)"),
		Violation: fault,
	}
	if u.cfg.KeepHeaders {
		e.Headers = r.Header.Clone()
		e.Headers.Set("Host", r.Host)
		e.Query = r.URL.RawQuery
	}

	u.mu.Lock()
	defer u.mu.Unlock()
	e.Seq = int64(len(u.entries)) + 1
	e.Start = u.cfg.Now()
	v := u.judgeLocked(key, rt.asks, e.Start)
	if v.violation != "" {
		e.Violation = v.violation
	}
	u.entries = append(u.entries, e)
	return &exchange{u: u, w: w, r: r, shape: rt.errors, verdict: v, seq: e.Seq, key: key, entry: e}
}

// note writes to the entry while the request is under way.
func (x *exchange) note(change func(*Entry)) {
	x.u.mu.Lock()
	defer x.u.mu.Unlock()
	change(x.entry)
}

// finish closes the entry and gives the permit back. The first call counts. The
// callers have yet to send their last piece: see the package comment.
func (x *exchange) finish(outcome string) {
	if x.ended {
		return
	}
	x.ended = true
	x.u.mu.Lock()
	x.entry.End = x.u.cfg.Now()
	x.entry.Outcome = outcome
	if outcome == Completed {
		x.entry.PromptTokens, x.entry.CompletionTokens = x.usage.PromptTokens, x.usage.CompletionTokens
	}
	if x.u.cfg.KeepBodies {
		x.entry.Answer = bytes.Clone(x.sent.Bytes())
	}
	if x.verdict.permit != nil {
		x.verdict.permit.running--
	}
	done := *x.entry
	x.u.mu.Unlock()
	x.u.writeLine(done)
}

// close catches what should not happen, a panic on the way: no entry stays open.
func (x *exchange) close() { x.finish(Cut) }

// readBody comes first on every path, because net/http notices that a client has
// left only after the body was read to its end. It reports whether to go on.
func (x *exchange) readBody() bool {
	body, err := io.ReadAll(io.LimitReader(x.r.Body, maxBody+1))
	if err != nil {
		x.leave()
		return false
	}
	x.body = body
	if x.u.cfg.KeepBodies {
		x.note(func(e *Entry) { e.Body = body })
	}
	if len(body) > maxBody {
		x.plain(http.StatusRequestEntityTooLarge, "413 request body too large\n")
		return false
	}
	return true
}
