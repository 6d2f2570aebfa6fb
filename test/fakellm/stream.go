package fakellm

import "net/http"

const comment = ": OPENROUTER PROCESSING\n\n"

// event is one piece of a streamed answer before it is framed.
type event struct {
	name string
	data []byte
}

// framing is how an API puts events on the wire.
type framing struct {
	contentType string
	comment     string
	frame       func(event) []byte
}

var (
	// sse is server-sent events. A real one's content type has no charset.
	sse = framing{"text/event-stream", comment, func(e event) []byte {
		var line []byte
		if e.name != "" {
			line = append(append(append(line, "event: "...), e.name...), '\n')
		}
		return append(append(append(line, "data: "...), e.data...), "\n\n"...)
	}}
	// ndjson is lines of JSON, which have no comments: they are silence there.
	ndjson = framing{"application/x-ndjson", "", func(e event) []byte {
		return append(e.data, '\n')
	}}
)

// ending says how a stream ends: with a last piece, or by a cut.
type ending struct {
	outcome string
	last    []byte
}

// stream sends the answer event by event, in the way the key's behaviour wants it.
func (x *exchange) stream(a api, c completion) {
	b := x.verdict.behaviour
	if b.Body != "" && !b.errsInBand() {
		x.reply(http.StatusOK, a.framing.contentType, Completed, []byte(b.Body))
		return
	}
	events, end := x.plan(a, c)
	x.w.Header().Set("Cache-Control", "no-cache")
	x.start(http.StatusOK, a.framing.contentType)
	if x.flush() != nil || x.play(a.framing, events) != nil {
		x.leave()
		return
	}
	if end.outcome == Cut {
		x.cut()
	}
	x.end(end.outcome, end.last)
}

// plan decides what is sent and how it ends. Only a whole answer has its last
// event.
func (x *exchange) plan(a api, c completion) ([]event, ending) {
	b := x.verdict.behaviour
	all := a.events(c)
	events, last := all[:len(all)-1], all[len(all)-1]
	first := func(n int) []event { return events[:min(n, len(events))] }
	switch {
	case b.EmptyStream:
		return nil, ending{outcome: Broken}
	case b.errsInBand():
		sent := first(b.ErrorAfter)
		return sent, ending{Broken, a.framing.frame(x.failed(a, c, len(sent)))}
	case b.EndEarlyAfter > 0:
		return first(b.EndEarlyAfter), ending{outcome: Broken}
	case b.TruncateAfter > 0:
		return first(b.TruncateAfter), ending{outcome: Cut}
	}
	return events, ending{Completed, a.framing.frame(last)}
}

// failed is the event that tells an error behind so many others.
func (x *exchange) failed(a api, c completion, sent int) event {
	if a.failure == nil {
		return event{a.errorEvent, x.inBand()}
	}
	f := x.embedded()
	f.message = x.text(f)
	e := a.failure(c, sent, f)
	e.data = orElse(x.verdict.behaviour.Body, string(e.data))
	return e
}

// play sends comments and events, each followed by the interval, so that the
// ending keeps its distance too.
func (x *exchange) play(f framing, events []event) error {
	b := x.verdict.behaviour
	for range b.Comments {
		if err := x.send([]byte(f.comment)); err != nil {
			return err
		}
		if err := x.wait(b.ChunkInterval); err != nil {
			return err
		}
	}
	for _, e := range events {
		if err := x.send(f.frame(e)); err != nil {
			return err
		}
		x.note(func(e *Entry) { e.Events++ })
		if err := x.wait(b.ChunkInterval); err != nil {
			return err
		}
	}
	return nil
}
