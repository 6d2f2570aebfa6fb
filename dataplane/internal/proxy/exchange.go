package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"ollama-api-pool/dataplane/internal/answers"
	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// exchange is one client request and what has become of it so far. Only the request's own goroutine touches it, but for
// the timer that a stream guards by its mutex.
type exchange struct {
	p     *Proxy
	w     http.ResponseWriter
	rc    *http.ResponseController
	r     *http.Request
	id    string
	start time.Time

	route *route
	api   *clientAPI
	entry uint64        // of the journal
	token *tokens.Token // nil until the caller is known; from then on Served is owed
	prov  *provider.Provider
	up    *upstream
	body  []byte
	held  int64 // of the memory for bodies
	asked request
	model string // as the upstream calls it, once aliases have been replaced
	// stream is what the body asks for; Accept is no guide, as most SDKs always send application/json.
	stream    bool
	admission capacity.Admission // under the token's limits
	kin       uint64             // requests with the same should go to the same key; 0: any
	waitUntil time.Time          // for a key; zero: none was wanted yet
	usage     provider.Usage
	hideUsage bool // the client did not ask for the event with the usage
	fromCache bool
	kept      string       // hit or miss; empty: the answer is not to be kept
	miss      answers.Miss // the right to keep the answer

	tried      []leases.KeyID // in triedArray
	triedArray [maxKeys]leases.KeyID
	met        met
	attempts   int
	lastKey    leases.KeyID
	status     int           // committed; 0: the client has seen nothing
	firstEvent time.Duration // until the first event of a stream; 0: none
	end        leases.End
	cut        bool // the connection is to be aborted, so that what was sent passes for nothing complete
	panicked   bool
	stranger   bool      // the caller is not known
	deadline   time.Time // of writes to the client
}

const (
	writeTimeout = 60 * time.Second // how long a client may take no bytes before it is given up
	largestPiece = 64 << 10         // that is written under one deadline
)

func (p *Proxy) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{p: p, w: w, rc: http.NewResponseController(w), r: r, id: "req_" + rand.Text(), start: p.now(), api: openAIChat}
	x.tried = x.triedArray[:0]
	w.Header()["X-Request-Id"] = []string{x.id}
	if r.Header["Expect"] != nil && r.ProtoMajor == 1 { // net/http answers it, and an earlier request may have left a deadline
		x.allowWrite()
	}
	if r.ContentLength != 0 { // net/http reads what the pool leaves unread before it answers: that must end too
		_ = x.rc.SetReadDeadline(time.Now().Add(bodyGrace))
	}
	if len(r.TransferEncoding) > 0 { // there may have been a length besides, by which one in front saw another end
		w.Header().Set("Connection", "close")
	}
	p.metrics.inFlight.Inc()
	return x
}

// finish ends an exchange however it went. A panic is answered here and goes no further; a connection that must not end
// cleanly is aborted by net/http's own means.
func (p *Proxy) finish(x *exchange) {
	cause := recover()
	if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		x.cut = true
	} else if cause != nil {
		x.answerForPanic(cause)
	}
	p.bodies.give(x.held)
	x.settleLimits()
	if x.token != nil {
		p.book.Served(leases.Request{
			Token: x.token.ID, Provider: x.providerID(), Model: bounded(x.model), End: x.end, Usage: x.usage, FromCache: x.fromCache,
			Entry: x.entry,
		})
	}
	p.metrics.inFlight.Dec()
	p.metrics.request(x, p.now().Sub(x.start))
	x.logLine()
	if x.cut {
		panic(http.ErrAbortHandler)
	}
}

func (x *exchange) answerForPanic(cause any) {
	x.panicked = true
	x.p.notePanic(cause, x.id)
	if x.status != 0 {
		x.cut, x.end = true, leases.EndTruncated
		return
	}
	x.refuse(problemInternal(x.id))
}

// caught ends a panic in a goroutine that no handler is above, and lets the one who waits for it know.
func (p *Proxy) caught(tell func()) {
	if cause := recover(); cause != nil {
		p.notePanic(cause, "")
		tell()
	}
}

func (p *Proxy) notePanic(cause any, requestID string) {
	p.metrics.panics.Inc()
	what := fmt.Sprintf("%T", cause) // its text may hold anything
	if err, ok := cause.(runtime.Error); ok {
		what = err.Error()
	}
	p.log.Error("panic caught", slog.String("request_id", requestID), slog.String("cause", what),
		slog.String("stack", string(debug.Stack())))
}

// identify finds out whose token the request carries. From here on the request is counted. An address that keeps failing is
// answered ever later.
func (p *Proxy) identify(x *exchange) *problem {
	prob := p.lookUp(x)
	if prob == problemUnauthorized {
		if wait := p.failures.Answer(x.r.Context(), p.trusted.ClientAddr(x.r)); wait > 0 {
			return problemTooManyFailures(wait)
		}
	}
	return prob
}

func (p *Proxy) lookUp(x *exchange) *problem {
	credential, err := tokens.Credential(x.r.Header)
	if errors.Is(err, tokens.ErrAmbiguous) {
		return problemTwoCredentials
	}
	if err != nil {
		return problemUnauthorized
	}
	token, err := p.book.Token(tokens.Digest(credential))
	switch {
	case err != nil && (errors.Is(err, leases.ErrUnknownToken) || !tokens.WellFormed(credential)):
		return problemUnauthorized
	case err != nil:
		return problemNotReady(err)
	case errors.Is(token.Allows("", "", p.now()), tokens.ErrExpired):
		return problemUnauthorized
	}
	x.token = token
	x.entry = p.book.Arrive(token.ID)
	if err := token.AllowsFrom(p.trusted.ClientAddr(x.r)); err != nil {
		return problemNotAllowed(err)
	}
	return nil
}

// admit asks whether the provider is there, may be used by this token, and is reachable from here at all.
func (p *Proxy) admit(x *exchange, providerID string) *problem {
	if err := p.book.Ready(); err != nil {
		return problemNotReady(err)
	}
	prov, ok := p.book.Provider(providerID)
	if !ok {
		return problemNotFound
	}
	x.prov = prov
	if err := x.token.Allows(prov.ID, "", p.now()); err != nil {
		return problemNotAllowed(err)
	}
	if !prov.Enabled {
		return problemDisabled(prov.ID)
	}
	up, err := p.upstreams.get(prov)
	if err != nil {
		return problemMisconfigured
	}
	x.up = up
	return nil
}

// borrow gets a key that is good at this moment, or says why there is none. It waits for one no longer than the provider's
// patience, counted from the first time that the request wanted one.
func (x *exchange) borrow(ctx context.Context) (loan, *problem) {
	w := leases.Want{Provider: x.prov.ID, Model: bounded(x.model), Affinity: x.kin, Tokens: estimateInput(int64(len(x.body)))}
	for range maxKeys {
		w.Tried = x.tried
		l, err := x.p.book.lend(ctx, w, x.patience())
		if err != nil {
			if noKey, ok := errors.AsType[*leases.NoKeyError](err); ok {
				return nil, x.met.problem(noKey)
			}
			return nil, problemNotReady(err)
		}
		x.tried = append(x.tried, l.KeyID())
		if l.Usable() {
			return l, nil
		}
		l.Return()
	}
	return nil, x.met.problem(&leases.NoKeyError{Cause: leases.CauseTried})
}

// patience answers how long the request may still wait for a key.
func (x *exchange) patience() time.Duration {
	if x.prov.Patience <= 0 {
		return 0
	}
	now := x.p.now()
	if x.waitUntil.IsZero() {
		x.waitUntil = now.Add(x.prov.Patience)
	}
	return max(x.waitUntil.Sub(now), 0)
}

// providerID is for counting; empty until the provider is known to exist.
func (x *exchange) providerID() string {
	if x.prov == nil {
		return ""
	}
	return x.prov.ID
}

// commit sends the status and headers. After it the client has seen something, and no other key may be tried.
func (x *exchange) commit(status int) {
	if x.p.expose && x.token != nil {
		x.exposeRoute()
	}
	x.status = status
	x.allowWrite()
	x.w.WriteHeader(status)
}

// put writes bytes to the client piece by piece: a deadline is for one piece, and not for all that a slow client takes.
func (x *exchange) put(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), largestPiece)
		x.allowWrite()
		if _, err := x.w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// write passes bytes on to the client and does not return before they are on their way.
func (x *exchange) write(b []byte) error {
	if err := x.put(b); err != nil {
		return err
	}
	err := x.rc.Flush()
	if x.r.ProtoMajor > 1 { // HTTP/2 resets a stream when its deadline passes, also if nobody is writing
		x.deadline = time.Time{}
		_ = x.rc.SetWriteDeadline(x.deadline)
	}
	return err
}

// allowWrite renews the deadline of writes when half of it is gone. A stalled client must not hold its key for ever.
func (x *exchange) allowWrite() {
	now := time.Now() // deadlines of connections know no other clock
	if x.deadline.Sub(now) < writeTimeout/2 {
		x.deadline = now.Add(writeTimeout)
		_ = x.rc.SetWriteDeadline(x.deadline) // not supported: nothing to bound
	}
}

// canceled says whether the client has gone away.
func (x *exchange) canceled() bool { return x.r.Context().Err() != nil }

// giveUp ends an exchange whose client has gone away. To return normally would send an empty 200.
func (x *exchange) giveUp() {
	x.end, x.cut = leases.EndCanceled, true
}

// refuse answers with a problem of the pool's own wording.
func (x *exchange) refuse(prob *problem) {
	x.end, x.stranger = prob.end, prob.unknownCaller
	if x.canceled() && prob != problemSlowBody { // net/http takes a deadline that has passed for a client that has gone
		x.giveUp()
		return
	}
	h := x.w.Header()
	body := prob.headersAndBody(h, x.api)
	x.commit(prob.status)
	_, _ = x.w.Write(body) // whoever is gone needs no answer
}

// bounded cuts a model's name to what is counted.
func bounded(model string) string { return cut(model, 200) }
