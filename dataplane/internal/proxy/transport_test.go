package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"ollama-api-pool/dataplane/internal/provider"
)

func TestAddressesThatAreOfNoUse(t *testing.T) {
	for _, row := range []struct {
		base    string
		private bool
		ok      bool
	}{
		{"https://ollama.com", false, true},
		{"https://openrouter.ai/api/v1", false, true},
		{"http://ollama.com", false, false},
		{"http://127.0.0.1:11434", true, true},
		{"https://user:pass@ollama.com", false, false},
		{"https://ollama.com?x=1", false, false},
		{"https://ollama.com#x", false, false},
		{"ftp://ollama.com", true, false},
		{"ollama.com", true, false},
		{"https://", true, false},
		{"://", true, false},
		{"", true, false},
	} {
		us := &upstreams{}
		_, err := us.get(&provider.Provider{ID: "x", BaseURL: row.base, Dialect: "openai", AllowPrivateAddresses: row.private})
		if (err == nil) != row.ok || err != nil && !errors.Is(err, errMisconfigured) {
			t.Errorf("%s (private %v): %v", row.base, row.private, err)
		}
	}
}

func TestTheDialerIsGuarded(t *testing.T) {
	up := httptest.NewTLSServer(http.HandlerFunc(noCalls(t)))
	defer up.Close()
	b := newBench(t, 3, noCalls(t))
	b.book.providers["ollama"].BaseURL = up.URL
	b.book.providers["ollama"].AllowPrivateAddresses = false
	a := b.chat(askWhole)
	if a.status != 502 || a.code() != "upstream_unreachable" || strings.Contains(a.body, "127.0.0.1") {
		t.Errorf("got %d %s", a.status, a.body)
	}
	if b.book.classes()[0] != provider.LocalError {
		t.Errorf("settled %v", b.book.classes())
	}
}

func TestANewRevisionTakesNewConnections(t *testing.T) {
	us := &upstreams{}
	p := provider.Provider{ID: "x", Revision: 1, BaseURL: "https://a.example", Dialect: "openai"}
	one, _ := us.get(&p)
	same, _ := us.get(&p)
	p.Revision = 2
	two, _ := us.get(&p)
	if one != same || one == two || one.transport == two.transport || one.retries != two.retries {
		t.Error("connections do not follow the revision, or the budget does")
	}
	if one.transport.Proxy != nil || !one.transport.DisableCompression || one.transport.TLSClientConfig.MinVersion != tls.VersionTLS12 {
		t.Error("the transport is not as it must be")
	}
}

func TestHTTP2Upstream(t *testing.T) {
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("spoken to in %s", r.Proto)
		}
		if strings.Contains(r.Header.Get("Accept"), "json") {
			sendJSON(w, 200, goodWhole)
			return
		}
		sendStream(w, chunk("a"), finish, doneEvent)
	}))
	up.EnableHTTP2 = true
	up.StartTLS()
	defer up.Close()
	b := newBench(t, 1, noCalls(t))
	p := b.book.providers["ollama"]
	p.BaseURL = up.URL
	u, err := b.proxy.upstreams.get(p)
	if err != nil {
		t.Fatal(err)
	}
	u.transport.TLSClientConfig.RootCAs = up.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if a := b.chat(askWhole, "Accept", "application/json"); a.body != goodWhole {
		t.Errorf("got %+v", a)
	}
	if a := b.chat(askStream); a.body != chunk("a")+finish+doneEvent || a.err != nil {
		t.Errorf("got %+v", a)
	}
}

func TestAConnectionIsUsedAgain(t *testing.T) {
	var conns atomic.Int32
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case keyOf(r) == "a":
			sendJSON(w, 429, `{"error":"slow"}`)
		case strings.Contains(string(body), "true"):
			sendStream(w, goodStream)
		default:
			sendJSON(w, 200, goodWhole)
		}
	}))
	up.Config.ConnState = connCounter(&conns)
	up.Start()
	defer up.Close()
	b := newBench(t, 2, noCalls(t))
	b.book.providers["ollama"].BaseURL = up.URL
	for range 5 {
		if a, s := b.chat(askWhole), b.chat(askStream); a.status != 200 || s.body != goodStream {
			t.Errorf("got %+v, %+v", a, s)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections for 20 attempts", conns.Load())
	}
	b.proxy.CloseIdle()
}

func TestARequestIsNeverSentTwiceBehindOurBack(t *testing.T) {
	var calls atomic.Int32
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1) == 1 {
			sendJSON(w, 200, goodWhole)
			return
		}
		c, _, _ := http.NewResponseController(w).Hijack()
		_ = c.Close()
	})
	b.chat(askWhole)
	// With this header Go's transport would send a POST again by itself on a connection that was used before.
	if a := b.chat(askWhole, "Idempotency-Key", "k"); a.status != 502 || calls.Load() != 2 {
		t.Errorf("%d after %d calls", a.status, calls.Load())
	}
}

func TestWasIdle(t *testing.T) {
	for text, want := range map[string]bool{
		"http: server closed idle connection": true,
		"net/http: HTTP/1.x transport connection broken: readLoopPeekFailLocked: read tcp: connection reset by peer": true,
		"EOF":                                false,
		"read tcp: connection reset by peer": false,
	} {
		if got := wasIdle(errors.New(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
