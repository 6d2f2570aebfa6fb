package proxy

import (
	"io"
	"net/http"
	"sync"

	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
)

const (
	maxWhole   = 32 << 20 // an answer up to this size is read in full before the client sees any of it
	smallBuf   = 4 << 10
	largestBuf = 256 << 10 // larger buffers are not kept
)

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, smallBuf); return &b }}

func getBuffer() *[]byte { return buffers.Get().(*[]byte) }

func putBuffer(b *[]byte) {
	if cap(*b) <= largestBuf {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// relayWhole passes on an answer that is not a stream. It is read and looked at in full first, so that an error, a cut or
// broken JSON can still be made good by another key; only what is too large, or finds no room, goes on unread.
func (a *attempt) relayWhole(resp *http.Response) {
	buf := getBuffer()
	var held int64
	defer func() {
		putBuffer(buf)
		a.x.p.bodies.give(held)
	}()
	complete, err := a.fill(resp, buf, &held)
	if err != nil {
		a.failed(err)
		return
	}
	if holds(*buf, a.needle) {
		a.verdict = provider.Verdict{Class: provider.Broken, Next: provider.Again, Status: resp.StatusCode}
		return
	}
	if complete {
		if v, bad := a.x.up.dialect.JudgeEvent(*buf, a.x.p.now()); bad {
			a.verdict = a.redacted(v)
			return
		}
	}
	a.sendWhole(resp, *buf, complete)
}

// fill reads the body into buf until it ends (complete) or may be held no further.
func (a *attempt) fill(resp *http.Response, buf *[]byte, held *int64) (complete bool, err error) {
	for {
		if len(*buf) == cap(*buf) {
			grow := int64(cap(*buf))
			if int64(len(*buf)) >= maxWhole || !a.x.p.bodies.take(grow) {
				return false, nil
			}
			*held += grow
			grown := make([]byte, len(*buf), int64(cap(*buf))+grow)
			copy(grown, *buf)
			*buf = grown
		}
		n, err := a.read(resp.Body, (*buf)[len(*buf):cap(*buf)])
		*buf = (*buf)[:len(*buf)+n]
		switch {
		case err == io.EOF: //nolint:errorlint // Read returns it bare
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

func (a *attempt) sendWhole(resp *http.Response, body []byte, complete bool) {
	x := a.x
	a.answered = true
	if complete {
		a.tally.said.Read(body)
	}
	a.tally.bytes = len(body)
	h := x.w.Header()
	downHeaders(h, resp.Header, a.secret)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if complete && resp.StatusCode == http.StatusOK {
		x.keep(h.Get("Content-Type"), body)
	}
	switch {
	case complete:
		h.Set("Content-Length", itoa(len(body)))
	case resp.ContentLength >= 0:
		h.Set("Content-Length", itoa(int(resp.ContentLength)))
	}
	x.commit(resp.StatusCode)
	var err error
	if complete {
		a.ending()
		err = x.put(body)
	} else if err = x.write(body); err == nil {
		err = a.sendRest(resp)
	}
	switch {
	case a.verdict.Class == provider.Truncated:
		a.spoiled(truncated)
	case err != nil:
		a.verdict = provider.Verdict{Class: provider.Canceled}
		x.giveUp()
	default:
		a.verdict = provider.Verdict{Class: provider.OK, Status: resp.StatusCode}
		x.end = leases.EndOK
	}
}

// sendRest passes on what of a large answer was not read in advance. Its error is the client's; the upstream's is noted as
// the verdict.
func (a *attempt) sendRest(resp *http.Response) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := a.read(resp.Body, buf)
		a.tally.bytes += n
		if n > 0 {
			if err := a.x.write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF: //nolint:errorlint // Read returns it bare
			return nil
		case a.x.canceled():
			return a.x.r.Context().Err() // also if this read went well: the client has gone
		case err != nil:
			a.verdict = truncated
			return nil //nolint:nilerr // the verdict tells it
		}
	}
}
