package server

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// Nobody has asked for a token here.
func TestABodyThatNeverComesHoldsNoPlace(t *testing.T) {
	for name, row := range map[string]struct {
		handler http.Handler
		head    string
	}{
		"it wants another protocol":            {&gate{next: http.NotFoundHandler(), most: 1}, "POST / HTTP/1.1\r\nHost: pool\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\n"},
		"it is one too many":                   {&gate{}, "POST / HTTP/1.1\r\nHost: pool\r\nContent-Length: 9\r\n\r\n"},
		"it is one too many, without a length": {&gate{}, "POST / HTTP/1.1\r\nHost: pool\r\nTransfer-Encoding: chunked\r\n\r\n"},
		"it sends what no metric needs":        {unread(http.NotFoundHandler()), "GET /metrics HTTP/1.1\r\nHost: pool\r\nContent-Length: 9\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &party{newDoor(newStreet(), 4, nil), t, nil}
				p.street = p.Listener.(*street)
				h := &http.Server{ConnState: p.note, Handler: row.handler, ReadHeaderTimeout: time.Second, IdleTimeout: time.Second}
				done := make(chan error)
				go func() { done <- serve(h, p.door) }()
				v := p.visit("192.0.2.1:5")
				go func() { _, _ = io.Copy(io.Discard, v) }()
				if _, err := io.WriteString(v, row.head); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Minute)
				if n := p.Open(); n != 0 {
					t.Errorf("after a minute there are %d connections", n)
				}
				_ = v.Close()
				_ = h.Close()
				<-done
			})
		})
	}
}
