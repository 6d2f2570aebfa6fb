package fakellm

import (
	"net/http"
	"slices"
	"strconv"
)

const (
	typeJSON  = "application/json"
	typeHTML  = "text/html; charset=utf-8"
	typePlain = "text/plain; charset=utf-8"
)

const page = "<!DOCTYPE html>\n<html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1></body></html>\n"

// passKey deals with everything that the key alone decides. It reports whether
// the request is still to be answered.
func (x *exchange) passKey() bool {
	v, b := x.verdict, x.verdict.behaviour
	if v.unknown {
		x.refuse(fault{status: http.StatusUnauthorized})
		return false
	}
	if v.violation != "" {
		x.refuse(fault{status: http.StatusTooManyRequests, retryAfter: v.retryAfter})
		return false
	}
	if err := x.wait(b.Delay); err != nil {
		x.leave()
		return false
	}
	switch {
	case b.Hang:
		<-x.r.Context().Done()
		x.leave()
		return false
	case b.Reset:
		x.cut()
	case b.refuses():
		x.refuse(x.u.scripted(b))
		return false
	}
	return true
}

// answer sends the JSON that the request deserves, in the way the key's behaviour
// wants it.
func (x *exchange) answer(whole []byte) {
	b := x.verdict.behaviour
	half := whole[:len(whole)/2]
	switch {
	case b.HTML:
		x.reply(http.StatusOK, typeHTML, Broken, orElse(b.Body, page))
	case b.EmptyStream:
		x.reply(http.StatusOK, typeJSON, Broken, nil)
	case b.errsInBand():
		x.reply(http.StatusOK, typeJSON, Broken, x.inBand())
	case b.EndEarlyAfter > 0:
		x.reply(http.StatusOK, typeJSON, Broken, half)
	case b.TruncateAfter > 0:
		x.w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		x.start(http.StatusOK, typeJSON)
		if x.send(half) != nil {
			x.leave()
			return
		}
		x.cut()
	default:
		x.reply(http.StatusOK, typeJSON, Completed, orElse(b.Body, string(whole)))
	}
}

// refuse answers an error in the shape that the path has for it.
func (x *exchange) refuse(f fault) {
	h := x.w.Header()
	if f.retryAfter != "" {
		h.Set("Retry-After", f.retryAfter)
	}
	x.resetHeader(h, f)
	body := f.body
	if body == nil {
		body = x.errorBody(f)
	}
	x.reply(f.status, typeJSON, Refused, body)
}

func (x *exchange) plain(status int, text string) {
	x.reply(status, typePlain, Refused, []byte(text))
}

// reply sends a whole answer at once.
func (x *exchange) reply(status int, contentType, outcome string, body []byte) {
	if x.r.Context().Err() != nil {
		x.leave()
		return
	}
	if status != http.StatusNotModified {
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.start(status, contentType)
	x.keep(body)
	x.finish(outcome)
	_, _ = x.w.Write(body) // the client may have left: that is not ours to know any more
}

// start sends the headers.
func (x *exchange) start(status int, contentType string) {
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	for name, value := range x.verdict.behaviour.Header {
		h.Set(name, value)
	}
	x.note(func(e *Entry) { e.Status = status })
	x.w.WriteHeader(status)
}

func (x *exchange) forbids(model string) bool {
	return slices.Contains(x.verdict.behaviour.ForbidModels, model)
}

func orElse(body, otherwise string) []byte {
	if body != "" {
		return []byte(body)
	}
	return []byte(otherwise)
}
