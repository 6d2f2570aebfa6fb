package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// say sends a request as it stands and answers everything that comes back until the server closes or is silent for so long.
func (b *bench) say(raw string, silence time.Duration) (said string, closed bool) {
	b.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.Close()
	if _, err = io.WriteString(c, strings.ReplaceAll(raw, "TOKEN", clientToken)); err != nil {
		b.t.Fatal(err)
	}
	var got strings.Builder
	for {
		_ = c.SetReadDeadline(time.Now().Add(silence))
		var buf [4096]byte
		n, err := c.Read(buf[:])
		got.Write(buf[:n])
		if err != nil {
			return got.String(), err == io.EOF //nolint:errorlint // Read returns it bare
		}
	}
}

// rawChat is a request without the lines that frame its body.
const rawChat = "POST /v1/chat/completions HTTP/1.1\r\nHost: pool\r\nAuthorization: Bearer TOKEN\r\n"

func TestAfterAChunkedRequestNothingMoreIsReadFromTheConnection(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, goodWhole) })
	chunked := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(askWhole), askWhole)
	smuggled := rawChat + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(askWhole), askWhole)
	for _, frame := range []string{chunked, "Content-Length: 4\r\n" + chunked} {
		said, closed := b.say(rawChat+frame+smuggled, time.Second)
		if strings.Count(said, "HTTP/1.1 ") != 1 || !closed {
			t.Errorf("closed: %v, said %s", closed, said)
		}
	}
}

func TestFramingThatTwoCouldReadDifferentlyIsRefused(t *testing.T) {
	b := newBench(t, 1, noCalls(t))
	body := "\r\n" + askWhole
	for why, raw := range map[string]string{
		"two lengths":           rawChat + "Content-Length: 2\r\nContent-Length: 3\r\n" + body,
		"a list of lengths":     rawChat + "Content-Length: 2, 2\r\n" + body,
		"a signed length":       rawChat + "Content-Length: +2\r\n" + body,
		"two hosts":             rawChat + "Host: other\r\nContent-Length: 2\r\n" + body,
		"two credentials":       rawChat + "Authorization: Bearer TOKEN\r\nContent-Length: 0\r\n" + body,
		"an unknown coding":     rawChat + "Transfer-Encoding: xchunked\r\n" + body,
		"two codings":           rawChat + "Transfer-Encoding: chunked, identity\r\n" + body,
		"a coding twice":        rawChat + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + body,
		"white space in a name": rawChat + "X-A : b\r\n" + body,
		"a bare CR":             rawChat + "X-A: b\rX-C: d\r\n" + body,
		"absolute form":         strings.Replace(rawChat, "POST /", "POST http://pool/", 1) + "Content-Length: 0\r\n\r\n",
		"absolute, no host":     strings.Replace(rawChat, "POST /", "POST http:///", 1) + "Content-Length: 0\r\n\r\n",
		"an encoded slash":      strings.Replace(rawChat, "/chat/", "/chat%2f", 1) + "Content-Length: 0\r\n\r\n",
		"dot segments":          strings.Replace(rawChat, "/v1/chat/", "/v1/x/../chat/", 1) + "Content-Length: 0\r\n\r\n",
		"encoded dots":          strings.Replace(rawChat, "/v1/", "/%2e%2e/v1/", 1) + "Content-Length: 0\r\n\r\n",
	} {
		said, _ := b.say(raw, 200*time.Millisecond)
		if status, _, _ := strings.Cut(strings.TrimPrefix(said, "HTTP/1.1 "), " "); status != "400" && status != "404" && status != "501" {
			t.Errorf("%s: %s", why, said)
		}
	}
}

func TestABodyThatNeverComesHoldsNobodyWhoIsRefusedAnyway(t *testing.T) {
	for why, head := range map[string]string{
		"without a token": "POST /v1/chat/completions HTTP/1.1\r\nHost: pool\r\nContent-Length: 100\r\n\r\n",
		"of no path":      "POST /nothing HTTP/1.1\r\nHost: pool\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(why, func(t *testing.T) {
			inBubble(t, 1, noCalls(t), func(t *testing.T, b *bench) {
				c, err := b.client.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "pool")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				start := time.Now()
				_, _ = io.WriteString(c, head)
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if took := time.Since(start); resp.StatusCode/100 != 4 || took > bodyGrace {
					t.Errorf("got %d after %v", resp.StatusCode, took)
				}
			})
		})
	}
}

func TestABodyThatIsAnnouncedButDoesNotComeTakesNoMemoryAndIsGivenUpSoon(t *testing.T) {
	inBubble(t, 1, noCalls(t), func(t *testing.T, b *bench) {
		free := b.proxy.bodies.free.Load()
		r := b.request("POST", "/v1/chat/completions", "")
		r.Body, r.ContentLength = neverEnding{t.Context().Done()}, 32<<20
		start := time.Now()
		go b.do(r)
		time.Sleep(time.Second)
		synctest.Wait()
		if held := free - b.proxy.bodies.free.Load(); held > 64<<10 {
			t.Errorf("%d bytes are held for a body of which none has come", held)
		}
		for b.proxy.bodies.free.Load() != free && time.Since(start) < time.Hour {
			time.Sleep(time.Second)
		}
		if took := time.Since(start); took > bodyGrace+2*time.Second {
			t.Errorf("given up after %v", took)
		}
		time.Sleep(time.Second) // net/http waits for half of one before it lets the connection go
	})
}

func TestAnUpstreamThatSwitchesProtocolsHoldsNobody(t *testing.T) {
	inBubble(t, 2, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		var one [1]byte
		_, _ = c.Read(one[:]) // says nothing more, until the pool closes
		_ = c.Close()
	}, func(t *testing.T, b *bench) {
		start := time.Now()
		for _, path := range []string{"/v1/chat/completions", "/v1/models"} {
			method, body := "POST", askWhole
			if path == "/v1/models" {
				method, body = "GET", ""
			}
			if a := b.do(b.request(method, path, body)); a.status != 502 {
				t.Errorf("%s: %d %v", path, a.status, a.err)
			}
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// An upstream may say its key anywhere; the bench looks at all answers and at the log.
func TestWhateverAnUpstreamReflectsTheKeyDoesNotReachTheClient(t *testing.T) {
	for _, row := range []struct {
		why    string
		answer func(w http.ResponseWriter, auth string)
		status int
	}{
		{"in every header", func(w http.ResponseWriter, auth string) {
			for _, name := range []string{"X-Generation-Id", "Openai-Processing-Ms", "Set-Cookie", "Www-Authenticate", "X-Echo"} {
				w.Header().Set(name, auth)
			}
			w.Header().Set("Content-Type", "application/json; k="+auth)
			_, _ = io.WriteString(w, goodWhole)
		}, 200},
		{"in a 400", func(w http.ResponseWriter, auth string) {
			sendJSON(w, 400, `{"error":{"message":"`+auth+`","type":"`+auth+`","code":"`+auth+`","param":"`+auth+`"}}`)
		}, 400},
		{"in a plain 404", func(w http.ResponseWriter, auth string) { http.Error(w, "got "+auth, 404) }, 404},
		{"in a 401", func(w http.ResponseWriter, auth string) { sendJSON(w, 401, `{"error":"`+auth+`"}`) }, 503},
		{"in a 500", func(w http.ResponseWriter, auth string) { sendJSON(w, 500, `{"error":"`+auth+`"}`) }, 502},
		{"in a 200", func(w http.ResponseWriter, auth string) {
			sendJSON(w, 200, strings.Replace(goodWhole, "hi", auth, 1))
		}, 502},
		{"in the first event", func(w http.ResponseWriter, auth string) { sendStream(w, chunk(auth), doneEvent) }, 502},
		{"in a comment", func(w http.ResponseWriter, auth string) { sendStream(w, ": "+auth+"\n\n", goodStream) }, 502},
		{"in a later event", func(w http.ResponseWriter, auth string) {
			sendStream(w, chunk("a"), chunk(auth), finish, doneEvent)
		}, 200},
		{"in a late error", func(w http.ResponseWriter, auth string) {
			sendStream(w, chunk("a"), event(`{"error":{"message":"`+auth+`"}}`))
		}, 200},
	} {
		t.Run(row.why, func(t *testing.T) {
			b := newBench(t, 2, func(w http.ResponseWriter, r *http.Request) { row.answer(w, r.Header.Get("Authorization")) })
			if a := b.chat(askStream); a.status != row.status {
				t.Errorf("got %d %s", a.status, a.body)
			}
		})
	}
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, 200, `{"models":[{"name":"`+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+`"}]}`)
	})
	if a := b.do(b.request("GET", "/v1/models", "")); a.status != 502 {
		t.Errorf("models: %d", a.status)
	}
	if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.Broken}) {
		t.Errorf("settled %v", got)
	}
}

func TestWordsOfAnUpstreamMakeNoRequestGoTwice(t *testing.T) {
	calls := 0
	inBubble(t, 1, func(w http.ResponseWriter, _ *http.Request) {
		calls++
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, "http: server closed idle connection readLoopPeekFailLocked: \r\n\r\n")
		_ = c.Close()
	}, func(t *testing.T, b *bench) {
		if a := b.chat(askWhole); a.status != 502 || calls != 1 {
			t.Errorf("%d after %d calls", a.status, calls)
		}
	})
}
