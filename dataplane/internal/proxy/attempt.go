package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

// errSilent is why a watch cancels: the upstream has said nothing for too long.
var errSilent = errors.New("the upstream is silent")

// attempt is one try of a request with one key. It owns the loan: settle ends it exactly once, even in a panic.
type attempt struct {
	x      *exchange
	loan   loan
	secret string
	needle []byte // the secret, to look for in what the upstream says
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *watch // cancels with errSilent
	cut    leases.Cut
	start  time.Time

	firstByte time.Duration // 0: no byte of an answer has come
	tally     tally
	verdict   provider.Verdict
	answered  bool // the client has its answer, or what there will be of it
	unsent    bool // the loan was taken back before the request was sent
}

// try sends the request with a borrowed key. If answered, the exchange is over; otherwise the client has seen nothing yet
// and the verdict says what may follow.
func (x *exchange) try(l loan) (v provider.Verdict, answered bool) {
	a := &attempt{x: x, loan: l, verdict: provider.Verdict{Class: provider.LocalError}}
	a.ctx, a.cancel = context.WithCancelCause(x.r.Context())
	a.watch = newWatch(x.up.firstByte, func() { a.cancel(errSilent) })
	defer a.settle()
	if !l.Watch(&a.cut, a.cancel) {
		a.unsent, a.verdict = true, cutOff
		return a.verdict, false
	}
	a.start = x.p.now()
	x.attempts++
	x.lastKey = l.KeyID()
	a.run()
	return a.verdict, a.answered
}

func (a *attempt) settle() {
	a.watch.stop()
	a.loan.Unwatch(&a.cut)
	a.cancel(nil)
	if a.unsent {
		a.loan.Return()
		return
	}
	done := leases.Attempt{Model: bounded(a.x.model), Verdict: a.verdict, FirstByte: a.firstByte}
	if a.answered {
		a.takeUsage()
		done.Usage = a.x.usage
	}
	a.loan.Settle(done)
	a.x.p.metrics.attempt(a.x.prov.ID, a.verdict.Class)
}

func (a *attempt) takeUsage() { a.x.usage = a.tally.usage(a.x.route, len(a.x.body)) }

// ending counts the request out of its token's limits, before the client sees the end of the answer.
func (a *attempt) ending() {
	a.takeUsage()
	a.x.settleLimits()
}

func (a *attempt) run() {
	resp, err := a.send()
	if err != nil {
		if a.failed(err); a.verdict.Class == provider.LocalError || a.verdict.Class == provider.Timeout {
			a.x.up.throttle.fails(a.x.p.now(), a.x.tokenID())
		}
		return
	}
	a.heard(resp.StatusCode)
	defer resp.Body.Close() // closed and not drained: a body may have no end
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		a.refused(resp)
		return
	}
	switch a.kindOf(resp) {
	case kindEvents:
		a.relayStream(resp, false)
	case kindLines:
		a.relayStream(resp, true)
	case kindJSON:
		a.relayWhole(resp)
	default:
		a.verdict = provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: resp.StatusCode}
	}
}

// send dispatches the request. The body goes byte for byte as it came; without GetBody the transport never sends it a
// second time by itself.
func (a *attempt) send() (*http.Response, error) {
	x := a.x
	h := upHeaders(x.r.Header, x.prov, x.p.agent, x.body != nil)
	a.secret = authorize(h, x.up.dialect, a.loan)
	a.needle = []byte(a.secret)
	for again := 0; ; again++ {
		req := (&http.Request{
			Method: x.r.Method, URL: x.up.urls[x.route.path], Header: h, ContentLength: int64(len(x.body)),
			Body: bodyOf(x.body), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		}).WithContext(a.ctx)
		resp, err := x.up.roundTrip(req)
		if err == nil || again == 2 || !wasIdle(err) || !a.loan.Usable() {
			return resp, err
		}
	}
}

// failed judges an attempt that ended without an answer, or in the middle of one that the client has not seen.
func (a *attempt) failed(error) {
	switch {
	case a.x.canceled():
		a.canceled()
	case errors.Is(context.Cause(a.ctx), leases.ErrCut):
		a.verdict = cutOff
	case errors.Is(context.Cause(a.ctx), errSilent):
		a.verdict = provider.Verdict{Class: provider.Timeout, Next: provider.Once}
	case a.firstByte > 0:
		a.verdict = provider.Verdict{Class: provider.Broken, Next: provider.Again}
	default:
		a.verdict = provider.Verdict{Class: provider.LocalError, Next: provider.Again}
	}
}

// canceled ends the attempt and the exchange: the client went away, which is nobody's fault.
func (a *attempt) canceled() {
	a.verdict = provider.Verdict{Class: provider.Canceled}
	a.answered = true
	a.x.giveUp()
}

// The bounds of what is read of an error.
const (
	maxRefusal  = 64 << 10
	refusalTime = 5 * time.Second
)

// refused judges an answer that is not a 200.
func (a *attempt) refused(resp *http.Response) {
	a.watch.restart(refusalTime)
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what has come of it is judged
	if a.x.canceled() {
		a.canceled()
		return
	}
	a.verdict = a.redacted(a.x.up.dialect.Judge(resp.StatusCode, resp.Header, body, a.x.p.now()))
}

// redacted makes the verdict's words fit for a client before anyone else sees them.
func (a *attempt) redacted(v provider.Verdict) provider.Verdict {
	clean := func(s string) string { return redact(s, a.secret, a.x.up.host, a.x.model) }
	v.Message = clean(v.Message)
	for _, word := range [...]*string{&v.Type, &v.Code, &v.Param} {
		if clean(*word) != *word {
			*word = ""
		}
	}
	return v
}

type kind uint8

const (
	kindOther kind = iota
	kindEvents
	kindLines
	kindJSON
)

// kindOf says how the answer's body is to be read. HTML and the like with a 200 is some page in front of the upstream; a
// compressed body, which was not asked for, can be neither read nor searched for the key.
func (a *attempt) kindOf(resp *http.Response) kind {
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return kindOther
	}
	contentType := resp.Header.Get("Content-Type")
	media, _, _ := strings.Cut(contentType, ";")
	switch media = strings.TrimSpace(media); {
	case strings.EqualFold(media, "application/x-ndjson"):
		return kindLines
	case strings.EqualFold(media, "text/event-stream"), contentType == "" && a.x.stream:
		return kindEvents
	case isJSON(contentType, true):
		return kindJSON
	default:
		return kindOther
	}
}

// read reads on from the answer. The watch counts only while it waits, so that a slow client is not held against the
// upstream; until the first byte it has been counting since the request was sent.
func (a *attempt) read(body io.Reader, to []byte) (int, error) {
	if a.firstByte > 0 {
		a.watch.wait()
	}
	n, err := body.Read(to)
	if n > 0 {
		if a.firstByte == 0 {
			a.firstByte = max(a.x.p.now().Sub(a.start), 1)
			a.watch.restart(a.x.up.idle)
		}
		a.watch.pause()
	}
	return n, err
}

// spoiled ends an answer that has begun and cannot be completed: nothing is spliced to it, and the connection is cut so
// that it passes for nothing complete.
func (a *attempt) spoiled(v provider.Verdict) {
	a.verdict, a.answered = v, true
	a.x.end, a.x.cut = leases.EndTruncated, true
}

// cutOff is the verdict on an attempt that an operator has ended, before the client saw any of its answer. It says nothing of
// the key, and the request may have another.
var cutOff = provider.Verdict{Class: provider.Canceled, Next: provider.OtherKey}

var truncated = provider.Verdict{Class: provider.Truncated, Status: http.StatusOK}
