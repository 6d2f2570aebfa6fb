package proxy

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestAQuietStreamLivesOnOverHTTP2(t *testing.T) {
	for _, expect := range []string{"", "100-continue"} {
		synctest.Test(t, func(t *testing.T) {
			b, stop := newBubbleBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
				pause(r, 2*writeTimeout)
				sendStream(w, chunk("a"))
				pause(r, 2*writeTimeout)
				sendStream(w, finish, doneEvent)
			})
			defer stop()
			b.book.providers["ollama"].FirstByteTimeout, b.book.providers["ollama"].IdleTimeout = time.Hour, time.Hour
			var protocols http.Protocols
			protocols.SetUnencryptedHTTP2(true)
			street := newPipes()
			front := &http.Server{Handler: b.proxy, Protocols: &protocols}
			var running sync.WaitGroup
			running.Go(func() { _ = front.Serve(street) })
			transport := &http.Transport{DialContext: street.dial, Protocols: &protocols}
			b.client = &http.Client{Transport: transport}
			a := b.chat(askStream, "Expect", expect)
			if want := chunk("a") + finish + doneEvent; a.body != want || a.err != nil {
				t.Errorf("got %d %q %v", a.status, strings.TrimPrefix(a.body, want), a.err)
			}
			transport.CloseIdleConnections()
			synctest.Wait()
			_ = front.Close()
			running.Wait()
		})
	}
}
