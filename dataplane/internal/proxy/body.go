package proxy

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	firstBody = 64 << 10 // what is read into first: a length that is only told takes no memory
	// A body has this long to arrive, and longer by what has come of it at the slowest rate that is put up with.
	bodyGrace   = 30 * time.Second
	minBodyRate = 32 << 10 // bytes per second
)

// readBody reads the body to its end, which is also what lets net/http notice a client that hangs up, and finds in it what
// the pool needs to know. The body itself is passed on as it is.
func (x *exchange) readBody() *problem {
	if e := x.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return problemEncoding
	}
	if t := x.r.Header.Get("Content-Type"); !isJSON(t, true) && t != curlDefault {
		return problemContentType
	}
	if x.r.ContentLength > x.p.maxBody {
		return problemTooLarge(x.p.maxBody)
	}
	body := x.r.Body // net/http reads no more of it than its length says
	if x.r.ContentLength < 0 {
		body = http.MaxBytesReader(x.w, body, x.p.maxBody)
	}
	prob := x.fillBody(body)
	if prob != nil {
		return prob
	}
	_ = x.rc.SetReadDeadline(time.Time{})
	if x.asked, prob = scanRequest(x.body, x.api); prob == nil {
		x.model, x.stream = x.asked.model, x.asked.stream
	}
	return prob
}

// fillBody reads into a buffer that grows only as bytes arrive, and that all requests' memory has room for.
func (x *exchange) fillBody(body io.Reader) *problem {
	size, start := x.r.ContentLength, time.Now()
	if size < 0 {
		size = x.p.maxBody
	}
	buf := make([]byte, 0, min(size, firstBody))
	if !x.hold(int64(cap(buf))) {
		return problemBusy
	}
	for {
		if len(buf) == cap(buf) {
			n, err := probeEnd(body)
			if err != nil || len(n) == 0 {
				x.body = buf
				return x.bodyProblem(err)
			}
			more := min(int64(max(cap(buf), firstBody)), size-int64(cap(buf)))
			if !x.hold(more) {
				return problemBusy
			}
			grown := make([]byte, len(buf), int64(cap(buf))+more)
			copy(grown, buf)
			buf = append(grown, n...)
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			x.body = buf
			return x.bodyProblem(err)
		}
		_ = x.rc.SetReadDeadline(start.Add(bodyGrace + time.Duration(len(buf)/minBodyRate)*time.Second))
	}
}

// probeEnd reads one byte more: a body that fills its buffer exactly is the usual case, and must not make it grow.
func probeEnd(body io.Reader) ([]byte, error) {
	var one [1]byte
	for {
		n, err := body.Read(one[:])
		if n > 0 {
			return one[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (x *exchange) hold(n int64) bool {
	if !x.p.bodies.take(n) {
		return false
	}
	x.held += n
	return true
}

func (x *exchange) bodyProblem(err error) *problem {
	var tooLarge *http.MaxBytesError
	switch {
	case err == io.EOF: //nolint:errorlint // Read returns it bare
		return nil
	case errors.As(err, &tooLarge):
		return problemTooLarge(x.p.maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemSlowBody
	default: // the client is gone, or its framing is broken
		return problemBodyRead
	}
}

// curlDefault is what `curl -d` says of any body if told nothing else. Upstreams take JSON under this name, and so do their
// users' scripts; what the body is shows when it is read.
const curlDefault = "application/x-www-form-urlencoded"

// isJSON looks at a media type; absent says what to think of none.
func isJSON(contentType string, absent bool) bool {
	switch contentType {
	case "":
		return absent
	case "application/json": // nearly always
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return media == "application/json" || strings.HasSuffix(media, "+json")
}
