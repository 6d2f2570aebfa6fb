package proxy

import (
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/origin"
	"ollama-api-pool/dataplane/internal/tokens"
)

func TestAddressesThatKeepFailingAreAnsweredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := newBubbleBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
		defer stop()
		fail := func() (answer, time.Duration) {
			start := time.Now()
			a := b.chat(askWhole, "Authorization", "Bearer sk-wrong-0123456789abcdef")
			return a, time.Since(start)
		}
		for range 10 {
			if a, took := fail(); a.status != 401 || took != 0 {
				t.Fatalf("%d after %s", a.status, took)
			}
		}
		if a, took := fail(); a.status != 401 || took != 6*time.Second {
			t.Errorf("the eleventh: %d after %s", a.status, took)
		}
		start := time.Now()
		if a := b.chat(askWhole); a.status != 200 || time.Since(start) != 0 {
			t.Errorf("a valid token from the same address: %d after %s", a.status, time.Since(start))
		}
		answers := make(chan answer, 20)
		for range cap(answers) {
			go func() { a, _ := fail(); answers <- a }()
		}
		late, refused := 0, 0
		for range cap(answers) {
			switch a := <-answers; a.status {
			case 401:
				late++
			case 429:
				refused++
				if a.code() != "too_many_failed_logins" || a.header.Get("Retry-After") == "" {
					t.Errorf("refused with %s", a.body)
				}
			}
		}
		if late == 0 || refused == 0 || late+refused != cap(answers) {
			t.Errorf("%d late, %d refused", late, refused)
		}
		if got := b.metric("apipool_requests_total", "outcome=unauthorized,provider=none"); got != 31 {
			t.Errorf("%v counted as strangers", got)
		}
	})
}

func TestATokenIsBoundToItsAddresses(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	hash := tokens.Digest(clientToken)
	b.book.tokens[hash] = &tokens.Token{ID: 7, Hash: hash, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	if a := b.chat(askWhole); a.status != 403 || a.code() != "not_allowed" {
		t.Errorf("from this machine: %d %s", a.status, a.body)
	}
	if a := b.chat(askWhole, "X-Forwarded-For", "203.0.113.9"); a.status != 403 {
		t.Errorf("by its own word: %d", a.status)
	}
	b.proxy.trusted, _ = origin.ParseTrusted([]string{"127.0.0.0/8", "::1"})
	if a := b.chat(askWhole, "X-Forwarded-For", "203.0.113.9"); a.status != 200 {
		t.Errorf("by the word of a proxy that is trusted: %d", a.status)
	}
	if a := b.chat(askWhole, "X-Forwarded-For", "203.0.113.9, 198.51.100.1"); a.status != 403 {
		t.Errorf("by a word that the client put in front: %d", a.status)
	}
	if a := b.do(b.request("GET", "/v1/models", "")); a.status != 403 {
		t.Errorf("the list of models: %d", a.status)
	}
}
