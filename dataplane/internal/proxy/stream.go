package proxy

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

const (
	// commentsHeld is for how long comments in front of the first event keep the status back, so that another key can
	// still be tried; then the client gets them.
	commentsHeld = 15 * time.Second
	// afterDone is how long an upstream may take to end its stream after [DONE]. If it does, its connection can be used
	// again; the client waits no longer than this either way.
	afterDone = 50 * time.Millisecond
	// quietBuf is what a stream reads into as long as no more comes at once: most of them wait most of the time.
	quietBuf = 1 << 10
)

// stream passes events on as they come. Its mutex is free only while it waits for the upstream: that is when hold may
// commit the status from a timer.
type stream struct {
	a     *attempt
	resp  *http.Response
	split splitter

	mu    sync.Mutex // guards all of it, and the client's side of the exchange
	hold  *time.Timer
	gone  int   // bytes of split.buf that the client has
	held  int64 // of the memory for bodies, for an event that is larger than most
	begun bool  // the first event has been judged good
	ended bool  // [DONE], or a finish_reason, has passed
	over  bool  // nothing more goes to the client
	busy  bool  // the last read has filled the buffer: there is more
}

// relayStream passes a stream on. Until its first event is there and is none about a failure the client sees nothing; from
// then on the answer is this one, and if it breaks, it ends as broken.
func (a *attempt) relayStream(resp *http.Response, lines bool) {
	s := &stream{a: a, resp: resp}
	s.split.lines = lines
	s.split.buf = make([]byte, 0, quietBuf)
	s.mu.Lock()
	defer func() {
		s.over = true
		s.mu.Unlock()
		if s.hold != nil {
			s.hold.Stop()
		}
		a.x.p.bodies.give(s.held)
	}()
	for !s.over {
		s.step()
	}
}

// step waits for more and passes on what is complete.
func (s *stream) step() {
	space, err := s.room()
	if err != nil {
		s.broken()
		return
	}
	n, err := s.read(space)
	s.busy = n == len(space)
	s.split.buf = s.split.buf[:len(s.split.buf)+n]
	if !s.passEvents() {
		return
	}
	switch {
	case err == io.EOF: //nolint:errorlint // Read returns it bare
		s.endOfStream()
	case err != nil && (s.a.x.canceled() || s.a.x.status == 0):
		s.over = true
		s.a.failed(err)
	case err != nil:
		s.broken()
	}
}

// room makes space for more. Large events come out of the memory for bodies.
func (s *stream) room() ([]byte, error) {
	if n := int64(cap(s.split.buf)); len(s.split.buf) == cap(s.split.buf) && n >= largestBuf {
		if !s.a.x.p.bodies.take(n) {
			return nil, errEventTooLarge
		}
		s.held += n
	}
	if s.busy && cap(s.split.buf) < smallBuf {
		s.split.buf = append(make([]byte, 0, smallBuf), s.split.buf...)
	}
	return s.split.room()
}

// read is the only place where the mutex is free.
func (s *stream) read(space []byte) (int, error) {
	s.mu.Unlock()
	defer s.mu.Lock()
	return s.a.read(s.resp.Body, space)
}

// passEvents sends on the complete events, all in one write. false: the stream is over.
func (s *stream) passEvents() bool {
	for {
		start := s.split.event
		event, ok := s.split.next()
		if !ok {
			break
		}
		if !s.look(event, start) {
			return false
		}
	}
	if !s.begun && s.a.x.status == 0 {
		if s.split.event > 0 && s.hold == nil {
			s.hold = time.AfterFunc(commentsHeld, s.release)
		}
		return true
	}
	return s.pass(s.split.event)
}

// look inspects one event, which starts at start and is complete. false: the stream is over.
func (s *stream) look(event []byte, start int) bool {
	if !s.begun {
		return s.lookFirst(event, start)
	}
	if bytes.Contains(event, []byte(`"error"`)) {
		if data, _ := s.data(event); s.failure(data, start) {
			return false
		}
	}
	if holds(event, s.a.needle) {
		if s.pass(start) {
			s.broken()
		}
		return false
	}
	return s.goOn(event, start)
}

// goOn counts the event, which starts at start, and passes on what there is if it is the last one. false: the stream is over.
func (s *stream) goOn(event []byte, start int) bool {
	api := s.a.x.api
	if usage := s.count(event); usage != nil && s.a.x.hideUsage && isUsageOnly(usage) {
		return s.hide(start)
	}
	switch {
	case api.ends(event):
		failed := api.fails(event) // before others take the place of its bytes
		s.a.ending()
		switch {
		case !s.pass(s.split.event):
		case failed:
			s.over = true
			s.a.verdict, s.a.x.end = truncated, leases.EndTruncated
		default:
			s.done()
		}
		return false
	case !s.ended && api.finishes(event):
		s.ended = true
	}
	return true
}

// count counts the event and reads the usage in it; it answers the data of one that may have some.
func (s *stream) count(event []byte) (usage []byte) {
	if event[0] == ':' || len(bytes.TrimSpace(event)) == 0 {
		return nil
	}
	s.a.tally.parts++
	if !provider.MayTellUsage(event) {
		return nil
	}
	data, _ := s.data(event)
	s.a.tally.said.Read(data)
	return data
}

// hide passes on what is before the event that starts at start, and drops the event: the pool has asked for it, not the
// client. false: the stream is over.
func (s *stream) hide(start int) bool {
	if !s.pass(start) {
		return false
	}
	s.split.release(s.split.event)
	return true
}

// data answers what an event says; has is false if it says nothing, as a comment or an empty line.
func (s *stream) data(event []byte) (data []byte, has bool) {
	if !s.split.lines {
		return eventData(event)
	}
	data = bytes.TrimSpace(event)
	return data, len(data) > 0
}

// lookFirst judges the first event with data in it.
func (s *stream) lookFirst(event []byte, start int) bool {
	data, has := s.data(event)
	reflects := holds(event, s.a.needle)
	if !has && !reflects {
		return true // a comment
	}
	v, bad := s.a.x.up.dialect.JudgeEvent(data, s.a.x.p.now()) // [DONE] at once is no JSON, and so no answer
	if reflects && !bad {
		v, bad = provider.Verdict{Class: provider.Broken, Next: provider.Again}, true
	}
	if bad {
		v = s.a.redacted(v)
		s.over = true
		if s.a.x.status == 0 {
			s.a.verdict = v
			return false
		}
		s.fail(problemOf(v), v) // comments have been passed on, but nothing of an answer: the key is judged
		return false
	}
	s.begun = true
	s.a.x.firstEvent = s.a.x.p.now().Sub(s.a.x.start)
	s.commit()
	return s.goOn(event, start)
}

// failure ends the stream if the event's data is an error. What is no JSON at all is the client's to make sense of: it has
// begun to read this answer.
func (s *stream) failure(data []byte, start int) bool {
	if provider.Members(data, maxRequestDepth, func(_, _ []byte) {}) != nil {
		return false
	}
	v, bad := s.a.x.up.dialect.JudgeEvent(data, s.a.x.p.now())
	if !bad {
		return false
	}
	if s.pass(start) {
		v = s.a.redacted(v)
		prob := problemOf(v)
		if v.Message != "" {
			prob = &problem{status: prob.status, typ: prob.typ, code: prob.code, message: v.Message}
		}
		s.fail(prob, truncated)
	}
	return true
}

// release is what the timer calls: the comments have been held back for long enough.
func (s *stream) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.a.x.p.caught(func() { s.a.cancel(nil) }) // no handler is above this goroutine
	if s.over || s.begun || s.a.x.status != 0 {
		return
	}
	s.commit()
	if s.a.x.write(s.split.buf[:s.split.event]) == nil {
		s.gone = s.split.event
	} // else the client is gone, which the request's context tells too
}

func (s *stream) contentType() string {
	if s.split.lines {
		return "application/x-ndjson"
	}
	return "text/event-stream"
}

func (s *stream) commit() {
	if s.a.x.status != 0 {
		return
	}
	h := s.a.x.w.Header()
	downHeaders(h, s.resp.Header, s.a.secret)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", s.contentType())
	}
	h.Set("X-Accel-Buffering", "no") // else nginx in front holds events back
	s.a.answered = true
	s.a.x.commit(s.resp.StatusCode)
}

// pass sends what lies before end and has not gone yet. false: the client is gone, and so the stream is over.
func (s *stream) pass(end int) bool {
	if end > s.gone {
		if err := s.a.x.write(s.split.buf[s.gone:end]); err != nil {
			s.over = true
			s.a.canceled()
			return false
		}
	}
	s.gone = 0
	s.split.release(end)
	if s.held > 0 && len(s.split.buf) < smallBuf { // a stream that waits must not keep what one large event took
		s.split.buf = append(make([]byte, 0, smallBuf), s.split.buf...)
		s.a.x.p.bodies.give(s.held)
		s.held = 0
	}
	return true
}

// endOfStream judges a stream that ended without [DONE].
func (s *stream) endOfStream() {
	if rest := s.split.rest(); len(rest) > 0 { // an event without its blank line
		start := s.split.event
		s.split.event, s.split.line, s.split.pos = len(s.split.buf), len(s.split.buf), len(s.split.buf)
		if !s.look(rest, start) {
			return
		}
	}
	switch {
	case !s.begun && s.a.x.status == 0:
		s.over = true
		s.a.verdict = provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: s.resp.StatusCode}
	case !s.ended:
		s.broken()
	case s.pass(s.split.event):
		s.succeed()
	}
}

// done ends a stream after [DONE].
func (s *stream) done() {
	s.succeed()
	s.a.watch.restart(afterDone)
	var tail [512]byte
	for halved := s.split.cr; ; { // the end of the last line may have come in two
		n, err := s.resp.Body.Read(tail[:])
		if halved && n > 0 {
			halved = false
			if tail[0] == '\n' {
				_ = s.a.x.write(tail[:1]) // whoever is gone has all that matters
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *stream) succeed() {
	s.over = true
	s.a.verdict, s.a.x.end = provider.Verdict{Class: provider.OK, Status: s.resp.StatusCode}, leases.EndOK
}

// broken ends a stream that its upstream cut, stalled, or made unreadable.
func (s *stream) broken() {
	s.over = true
	if s.a.x.status == 0 {
		s.a.verdict = provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: s.resp.StatusCode}
		return
	}
	s.fail(badGateway(http.StatusBadGateway, "upstream_truncated", "The provider's answer was cut off."), truncated)
}

// fail tells the client in its dialect that the stream has failed, and cuts it. Half an event that has not gone never goes.
func (s *stream) fail(prob *problem, v provider.Verdict) {
	s.over = true
	if s.a.x.write(s.a.x.api.errorEvent(prob)) != nil {
		s.a.canceled()
		return
	}
	s.a.spoiled(v)
}
