package system

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// rawRequest is one that no client of the API sends, or that two servers could read in two ways.
type rawRequest struct {
	why, text string
	status    int  // of the only answer; 0: none
	served    bool // the upstream sees it, once
}

// corpus is made of requests that would be served if they were written properly: TOKEN is a good token, BODY a good body,
// LEN its length.
var corpus = []rawRequest{
	// Lengths
	{"two lengths", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: LEN|Content-Length: 3||BODY", 400, false},
	{"a list of lengths", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: LEN, LEN||BODY", 400, false},
	{"a signed length", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: +LEN||BODY", 400, false},
	{"a negative length", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: -1||BODY", 400, false},
	{"a length in hex", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: 0x10||BODY", 400, false},
	{"a length with a comma", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: LEN,||BODY", 400, false},
	{"a length beyond all numbers", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: 99999999999999999999||BODY", 400, false},
	{"a length with a letter", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length: LENa||BODY", 400, false},
	{"an empty length", "POST /v1/chat/completions HTTP/1.1|Host: pool|Content-Length:||BODY", 400, false},
	{"a length that is too large", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: 99999999999||BODY", 413, false},
	// Codings
	{"a coding and a length", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: 4|Transfer-Encoding: chunked||CHUNKED", 200, true},
	{"a length and no end of chunks", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN|Transfer-Encoding: chunked||BODY", 400, false},
	{"an unknown coding", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding: xchunked||CHUNKED", 501, false},
	{"two codings", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding: chunked, identity||CHUNKED", 501, false},
	{"a coding in two lines", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding: chunked|Transfer-Encoding: chunked||CHUNKED", 501, false},
	{"an odd space before a coding", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding: \x0bchunked||CHUNKED", 400, false},
	{"a space before the colon", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding : chunked||CHUNKED", 400, false},
	{"gzip in chunks", "POST /v1/chat/completions HTTP/1.1|Host: pool|Transfer-Encoding: gzip, chunked||CHUNKED", 501, false},
	{"a coding in HTTP/1.0", "POST /v1/chat/completions HTTP/1.0|Host: pool|AUTH|Transfer-Encoding: chunked||CHUNKED", 400, false},
	// Chunks
	{"a chunk's size in hex with a prefix", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||0xLEX|BODY|0||", 400, false},
	{"a signed size", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||+LEX|BODY|0||", 400, false},
	{"a negative size", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||-LEX|BODY|0||", 400, false},
	{"a size beyond all numbers", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||fffffffffffffffff1|BODY|0||", 400, false},
	{"an empty size", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked|||BODY|0||", 400, false},
	{"a size that a bare LF ends", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||LEX;a\nBODY|0||", 400, false},
	{"a chunk longer than its size", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Transfer-Encoding: chunked||3|BODY|0||", 400, false},
	// Heads
	{"two hosts", "POST /v1/chat/completions HTTP/1.1|Host: pool|Host: other|Content-Length: LEN||BODY", 400, false},
	{"no host", "POST /v1/chat/completions HTTP/1.1|Content-Length: LEN||BODY", 400, false},
	{"a host with a space", "POST /v1/chat/completions HTTP/1.1|Host: po ol|Content-Length: LEN||BODY", 400, false},
	{"a host with a slash", "POST /v1/chat/completions HTTP/1.1|Host: pool/x|Content-Length: LEN||BODY", 400, false},
	{"a space in a name", "POST /v1/chat/completions HTTP/1.1|Host: pool|X Y: b|Content-Length: LEN||BODY", 400, false},
	{"a line without a colon", "POST /v1/chat/completions HTTP/1.1|Host: pool|X-A|Content-Length: LEN||BODY", 400, false},
	{"an empty name", "POST /v1/chat/completions HTTP/1.1|Host: pool|: x|Content-Length: LEN||BODY", 400, false},
	{"a NUL", "POST /v1/chat/completions HTTP/1.1|Host: pool|X-A: a\x00b|Content-Length: LEN||BODY", 400, false},
	{"a bare CR", "POST /v1/chat/completions HTTP/1.1|Host: pool|X-A: a\rX-B: b|Content-Length: LEN||BODY", 400, false},
	{"a first line that is folded", "POST /v1/chat/completions HTTP/1.1| Host: pool|Content-Length: LEN||BODY", 400, false},
	{"a head that is too large", "POST /v1/chat/completions HTTP/1.1|Host: pool|X-A: HUGE|Content-Length: LEN||BODY", 431, false},
	// First lines
	{"absolute form", "POST http://pool/v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"absolute form of another host", "POST http://other/v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"absolute form without a host", "POST http:///v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"a path without a slash", "POST v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 400, false},
	{"CONNECT", "CONNECT other:443 HTTP/1.1|Host: other:443|AUTH||", 404, false},
	{"CONNECT with a path", "CONNECT /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 405, false},
	{"TRACE", "TRACE /v1/chat/completions HTTP/1.1|Host: pool|AUTH||", 405, false},
	{"a method that is none", "P(ST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 400, false},
	{"four words", "POST /v1/chat/completions HTTP/1.1 HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 400, false},
	{"no version", "POST /v1/chat/completions|Host: pool|AUTH|Content-Length: LEN||BODY", 400, false},
	{"a later version", "POST /v1/chat/completions HTTP/3.0|Host: pool|AUTH|Content-Length: LEN||BODY", 505, false},
	{"HTTP/2 without TLS", "PRI * HTTP/2.0||SM||", 400, false},
	{"a websocket", "GET /v1/models HTTP/1.1|Host: pool|AUTH|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Key: x||", 400, false},
	{"an upgrade of a request", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Connection: Upgrade|Upgrade: TLS/1.0|Content-Length: LEN||BODY", 400, false},
	{"an upgrade to this and that", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Connection: Upgrade|Upgrade: h2c, x|Content-Length: LEN||BODY", 400, false},
	{"another expectation", "POST /v1/chat/completions HTTP/1.1|Host: pool|AUTH|Expect: more|Content-Length: LEN||BODY", 417, false},
	// Paths
	{"an encoded slash", "POST /v1/chat%2fcompletions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"an encoded letter", "POST /v1/ch%61t/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"dot segments", "POST /v1/x/../chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"encoded dots", "POST /v1/%2e%2e/v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"a dot", "POST /v1/./chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"two slashes", "POST //v1/chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"a backslash", "POST /v1\\chat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"an encoded backslash", "POST /v1%5cchat/completions HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 404, false},
	{"a broken escape", "POST /v1/chat/completions%2 HTTP/1.1|Host: pool|AUTH|Content-Length: LEN||BODY", 400, false},
}

// Whatever is said, there is one answer to it at most, the connection is closed, and what was hidden behind it is neither
// answered nor seen by the upstream.
func TestProcessRequestsThatTwoServersCouldReadInTwoWays(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	f.addKey(secret(0), fakellm.Behaviour{})
	token := f.addToken("raw")
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}]}`, fakellm.DefaultModel)
	hidden := post("/v1/chat/completions", token, strings.Replace(body, `"x"`, `"hidden"`, 1))
	asked := func() int { return len(fakellm.Attempts(f.upstream.Ledger())) }
	for _, row := range corpus {
		text := strings.NewReplacer("|", "\r\n", "AUTH", "Authorization: Bearer "+token, "BODY", body, "LEN", fmt.Sprint(len(body)),
			"LEX", fmt.Sprintf("%x", len(body)), "CHUNKED", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body),
			"HUGE", strings.Repeat("x", 24<<10)).Replace(row.text)
		if !strings.Contains(text, "Bearer") { // a server that took it would serve it
			text = strings.Replace(text, "\r\n", "\r\nAuthorization: Bearer "+token+"\r\n", 1)
		}
		before := asked()
		w := open(t, f.port("eu-1"))
		_ = w.say(text + hidden) // it may be closed before all is said
		status, said := w.answer(5 * time.Second)
		if status != row.status {
			t.Errorf("%s: %d %.200s, want %d", row.why, status, said, row.status)
		}
		if second, said := w.answer(2 * time.Second); second != 0 || !w.ended(2*time.Second) {
			t.Errorf("%s: the connection is not closed after the answer; next came %d %.200s", row.why, second, said)
		}
		if seen := asked() - before; (seen == 1) != row.served || seen > 1 {
			t.Errorf("%s: the upstream saw %d requests", row.why, seen)
		}
		_ = w.Close()
	}
	for _, e := range f.upstream.Ledger() {
		if e.Violation != "" {
			t.Errorf("the upstream complains: %s", e.Violation)
		}
	}
	// The same said properly is served, twice on one connection: the rows above fail for what they are.
	for why, text := range map[string]string{
		"properly":             hidden + hidden,
		"with an offer of h2c": strings.Replace(hidden, "\r\n", "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", 1) + hidden,
	} {
		w := open(t, f.port("eu-1"))
		if err := w.say(text); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if status, said := w.answer(10 * time.Second); status != 200 || !strings.Contains(said, fakellm.Answer("hidden")) {
				t.Errorf("%s: %d %.200s", why, status, said)
			}
		}
		_ = w.Close()
	}
	t.Logf("framing: %d requests that two servers could read in two ways", len(corpus))
	f.scan(token)
}
