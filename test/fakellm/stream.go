package fakellm

import (
	"cmp"
	"net/http"
)

const comment = ": OPENROUTER PROCESSING\n\n"

// event frames data as one server-sent event.
func event(data []byte) []byte {
	return append(append([]byte("data: "), data...), "\n\n"...)
}

// ending says how a stream ends: with a last piece, or by a cut.
type ending struct {
	outcome string
	last    []byte
}

// stream sends the answer event by event, in the way the key's behaviour wants it.
func (x *exchange) stream(c completion) {
	b := x.verdict.behaviour
	if b.Body != "" && !b.errsInBand() {
		x.reply(http.StatusOK, typeEvents, Completed, []byte(b.Body))
		return
	}
	events, end := x.u.plan(b, c)
	x.w.Header().Set("Cache-Control", "no-cache")
	x.start(http.StatusOK, typeEvents)
	if x.flush() != nil || x.play(b, events) != nil {
		x.leave()
		return
	}
	if end.outcome == Cut {
		x.cut()
	}
	x.end(end.outcome, end.last)
}

// plan decides what is sent and how it ends.
func (u *Upstream) plan(b Behaviour, c completion) ([][]byte, ending) {
	events := c.events(cmp.Or(b.Chunks, defaultChunks))
	first := func(n int) [][]byte { return events[:min(n, len(events))] }
	switch {
	case b.EmptyStream:
		return nil, ending{outcome: Broken}
	case b.FirstEventError:
		return nil, ending{Broken, event(u.inBand(b))}
	case b.ErrorAfter > 0:
		return first(b.ErrorAfter), ending{Broken, event(u.inBand(b))}
	case b.EndEarlyAfter > 0:
		return first(b.EndEarlyAfter), ending{outcome: Broken}
	case b.TruncateAfter > 0:
		return first(b.TruncateAfter), ending{outcome: Cut}
	}
	return events, ending{Completed, event([]byte("[DONE]"))}
}

// play sends comments and events, each followed by the interval, so that the
// ending keeps its distance too.
func (x *exchange) play(b Behaviour, events [][]byte) error {
	for range b.Comments {
		if err := x.send([]byte(comment)); err != nil {
			return err
		}
		if err := x.wait(b.ChunkInterval); err != nil {
			return err
		}
	}
	for _, e := range events {
		if err := x.send(e); err != nil {
			return err
		}
		x.note(func(e *Entry) { e.Events++ })
		if err := x.wait(b.ChunkInterval); err != nil {
			return err
		}
	}
	return nil
}
