package proxy

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
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

// slowClient takes 64 KiB a second.
type slowClient struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (c *slowClient) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *slowClient) Write(b []byte) (int, error) {
	for at := 0; at < len(b); at += 64 << 10 {
		time.Sleep(time.Second)
		if time.Now().After(c.deadline) {
			return at, os.ErrDeadlineExceeded
		}
	}
	return c.ResponseRecorder.Write(b)
}

func TestASlowClientGetsAllOfALargeAnswer(t *testing.T) {
	large := strings.Replace(goodWhole, "hi", strings.Repeat("x", 8<<20), 1)
	inBubble(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, large) }, func(t *testing.T, b *bench) {
		r := b.request("POST", "/v1/chat/completions", askWhole)
		r.URL.Scheme, r.URL.Host = "", "" // as a server has it
		client := &slowClient{ResponseRecorder: httptest.NewRecorder()}
		defer func() {
			if cut := recover(); cut != nil || client.Body.String() != large {
				t.Errorf("cut: %v, after %d bytes of %d", cut, client.Body.Len(), len(large))
			}
			if ends := b.book.ends(); !slices.Equal(ends, []leases.End{leases.EndOK}) {
				t.Errorf("it ended as %v", ends)
			}
		}()
		b.proxy.ServeHTTP(client, r)
	})
}
