package proxy

import (
	"bytes"
	"compress/gzip"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// misbehaviour is something that an upstream does on the wire, and what must come of it. What other tests show in their own
// ways (errors and comments in front of a stream, silences, reflected keys, 101) is not here again.
type misbehaviour struct {
	why    string
	ask    string // default askWhole
	say    func(c *rawConn)
	hangs  bool // so the pool must be made to lose its patience
	calls  int
	class  provider.Class // of each call
	status int
	code   string // of the client's error
	body   string // what the client reads before any error event; empty: not looked at
	cut    bool   // the client's answer does not end cleanly
	retry  string // Retry-After
}

func says(pieces ...string) func(*rawConn) {
	return func(c *rawConn) { c.write(pieces...) }
}

func refuses(status string, header ...string) func(*rawConn) {
	const body = `{"error":{"message":"no"}}`
	return says("HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " + itoa(len(body)) + "\r\n" + strings.Join(header, "") + "\r\n" + body)
}

func chunked(pieces ...string) string {
	var out strings.Builder
	for _, p := range pieces {
		out.WriteString(strconv.FormatInt(int64(len(p)), 16) + "\r\n" + p + "\r\n")
	}
	return out.String()
}

// bomb is 32 MiB of blanks behind which an answer stands, in some 30 kB.
func bomb() string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	block := bytes.Repeat([]byte(" "), 1<<20)
	for range 32 {
		_, _ = w.Write(block)
	}
	_, _ = io.WriteString(w, goodWhole)
	_ = w.Close()
	return b.String()
}

const (
	ok200     = "HTTP/1.1 200 OK\r\n"
	jsonType  = "Content-Type: application/json\r\n"
	toTheEnd  = ok200 + jsonType + "Connection: close\r\n\r\n"
	inChunks  = ok200 + jsonType + "Transfer-Encoding: chunked\r\n\r\n"
	mixedEnds = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\r\r" +
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\r\ndata: [DONE]\r\n\n"
)

func misbehaviours() []misbehaviour {
	const (
		local, broken, failed = provider.LocalError, provider.Broken, provider.ServerError
		late, good            = provider.Truncated, provider.OK
		lost, spoilt          = "upstream_unreachable", "upstream_error"
	)
	utf16 := "\xff\xfe" + strings.Join(strings.Split(goodWhole, ""), "\x00") + "\x00"
	packed := bomb()
	return []misbehaviour{
		// Before there are headers: no answer, so nothing about the key; or none in time, which is tried once more.
		{why: "an end instead of headers", say: says(), calls: 3, class: local, status: 502, code: lost},
		{why: "an RST instead of headers", say: (*rawConn).reset, calls: 3, class: local, status: 502, code: lost},
		{why: "an RST amid the headers", say: func(c *rawConn) { c.write(ok200 + "Content-"); c.reset() }, calls: 3, class: local, status: 502, code: lost},
		{why: "silence instead of headers", say: (*rawConn).hang, hangs: true, calls: 2, class: provider.Timeout, status: 504, code: "upstream_timeout"},
		{why: "silence amid the headers", say: func(c *rawConn) { c.write(ok200 + "Content-"); c.hang() }, hangs: true, calls: 2, class: provider.Timeout, status: 504, code: "upstream_timeout"},
		{why: "silence behind the headers", say: func(c *rawConn) { c.write(streamHead); c.hang() }, ask: askStream, hangs: true, calls: 2, class: provider.Timeout, status: 504, code: "upstream_timeout"},
		{why: "another protocol", say: says("SSH-2.0-OpenSSH_9.9\r\n"), calls: 3, class: local, status: 502, code: lost},
		{why: "a status that is no number", say: says("HTTP/1.1 abc OK\r\n\r\n"), calls: 3, class: local, status: 502, code: lost},
		{why: "a header without a colon", say: says(ok200 + "nonsense\r\n\r\n"), calls: 3, class: local, status: 502, code: lost},
		{why: "one header that is too large", say: says(ok200 + "X-Bomb: " + strings.Repeat("x", 100<<10) + "\r\n\r\n"), calls: 3, class: local, status: 502, code: lost},
		{why: "headers without end", say: func(c *rawConn) { c.write(ok200); c.flood("X-Bomb: x\r\n") }, calls: 3, class: local, status: 502, code: lost},
		{why: "a header line without end", say: func(c *rawConn) { c.write(ok200 + "X-Bomb: "); c.flood("x") }, calls: 3, class: local, status: 502, code: lost},

		// Informational answers are none.
		{why: "a few of them in front", say: says(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 3) + whole(goodWhole)), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "100 without end", say: func(c *rawConn) { c.flood("HTTP/1.1 100 Continue\r\n\r\n") }, calls: 3, class: local, status: 502, code: lost},
		{why: "103 without end", say: func(c *rawConn) { c.flood("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") }, calls: 3, class: local, status: 502, code: lost},
		{why: "199 and nothing more", say: says("HTTP/1.1 199 X\r\n\r\n"), calls: 3, class: local, status: 502, code: lost},

		// Statuses that nobody expects, or that no other test has.
		{why: "status 099", say: refuses("099 X"), calls: 3, class: failed, status: 502, code: spoilt},
		{why: "status 299 with an answer", say: says("HTTP/1.1 299 X\r\n" + strings.TrimPrefix(whole(goodWhole), ok200)), calls: 1, class: good, status: 299, body: goodWhole},
		{why: "status 204, which is no answer", say: says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "status 600", say: refuses("600 X"), calls: 3, class: failed, status: 502, code: spoilt},
		{why: "status 999", say: refuses("999 X"), calls: 3, class: failed, status: 502, code: spoilt},
		{why: "status 408", say: refuses("408 X"), calls: 3, class: local, status: 503, code: "upstream_unavailable", retry: "5"},
		{why: "status 425", say: refuses("425 X"), calls: 3, class: local, status: 503, code: "upstream_unavailable", retry: "5"},
		{why: "status 415", say: refuses("415 X"), calls: 1, class: provider.ClientError, status: 415},
		{why: "status 502", say: refuses("502 X"), calls: 3, class: failed, status: 502, code: spoilt},
		{why: "status 504", say: refuses("504 X"), calls: 3, class: failed, status: 502, code: spoilt},
		{why: "429 until a date that has passed", say: refuses("429 X", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), calls: 4, class: provider.RateLimited, status: 429, code: "rate_limit_exceeded", retry: "5"},
		{why: "429 for an absurd time", say: refuses("429 X", "Retry-After: 1000000000000000000\r\n"), calls: 4, class: provider.RateLimited, status: 429, code: "rate_limit_exceeded", retry: "60"},
		{why: "429 for a negative time", say: refuses("429 X", "Retry-After: -5\r\n"), calls: 4, class: provider.RateLimited, status: 429, code: "rate_limit_exceeded", retry: "5"},
		{why: "429 for a fraction", say: refuses("429 X", "Retry-After: 1.5\r\n"), calls: 4, class: provider.RateLimited, status: 429, code: "rate_limit_exceeded", retry: "2"},

		// Framing.
		{why: "two lengths", say: says(ok200 + jsonType + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + goodWhole), calls: 3, class: local, status: 502, code: lost},
		{why: "the same length twice", say: says(whole(goodWhole, "Content-Length: "+itoa(len(goodWhole))+"\r\n")), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "a length that is none", say: says(ok200 + jsonType + "Content-Length: -1\r\n\r\n" + goodWhole), calls: 3, class: local, status: 502, code: lost},
		{why: "a length and chunks", say: says(ok200 + jsonType + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(goodWhole, "")), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "a coding that is not known", say: says(ok200 + jsonType + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked(goodWhole, "")), calls: 3, class: local, status: 502, code: lost},
		{why: "a chunk whose size is none", say: says(inChunks + chunked(goodWhole[:9]) + "zz\r\n" + goodWhole[9:] + "\r\n0\r\n\r\n"), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a chunk of more than there can be", say: says(inChunks + "fffffffffffffffff\r\n" + goodWhole), calls: 3, class: local, status: 502, code: lost},
		{why: "chunks that do not end", say: says(inChunks + chunked(goodWhole)), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a body shorter than its length", say: says(whole(goodWhole + "          ")[:len(whole(goodWhole))]), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a body longer than its length", say: says(kept(goodWhole) + "more"), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "a second answer behind the first", say: says(kept(goodWhole) + kept(`{"id":"smuggled","choices":[]}`)), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "no framing at all", say: says(toTheEnd + goodWhole), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "an answer of HTTP/1.0", say: says("HTTP/1.0 200 OK\r\n" + jsonType + "\r\n" + goodWhole), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "a trailer", say: says(ok200 + jsonType + "Transfer-Encoding: chunked\r\nTrailer: X-Key\r\n\r\n" + chunked(goodWhole) + "0\r\nX-Key: " + keyCanary + "\r\n\r\n"), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "an RST amid an answer", say: func(c *rawConn) { c.write(toTheEnd + goodWhole[:9]); c.reset() }, calls: 3, class: broken, status: 502, code: spoilt},

		// Whole answers that are none.
		{why: "a page", say: says(ok200 + "Content-Type: text/html\r\nConnection: close\r\n\r\n<html>"), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a page that calls itself JSON", say: says(whole("<html>")), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "another alphabet", say: says(whole(utf16)), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a charset that is not what it is", say: says(strings.Replace(whole(goodWhole), "json", "json; charset=utf-16", 1)), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "a content type that is none", say: says(strings.Replace(whole(goodWhole), "application/json", ";;;", 1)), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "NUL bytes", say: says(whole(strings.Replace(goodWhole, "hi", "h\x00i", 1))), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a bomb that says it is packed", say: says(whole(packed, "Content-Encoding: gzip\r\n")), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a bomb that does not say so", say: says(whole(packed)), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "JSON without bottom", say: says(toTheEnd + strings.Repeat(`[`, 1<<20)), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a whole answer to who wanted a stream", ask: askStream, say: says(whole(goodWhole)), calls: 1, class: good, status: 200, body: goodWhole},
		{why: "an answer that trickles", say: func(c *rawConn) {
			c.write(toTheEnd)
			for one := range strings.SplitSeq(goodWhole, "") {
				c.write(one)
				time.Sleep(time.Millisecond)
			}
		}, calls: 1, class: good, status: 200, body: goodWhole},

		// Errors without end are judged by their beginning.
		{why: "a 400 without end", say: func(c *rawConn) { c.write("HTTP/1.1 400 X\r\n\r\n"); c.flood("x") }, calls: 1, class: provider.ClientError, status: 400},
		{why: "a 500 without end", say: func(c *rawConn) { c.write("HTTP/1.1 500 X\r\n\r\n"); c.flood("x") }, calls: 3, class: failed, status: 502, code: spoilt},
		{why: "a 400 that is packed", say: says(strings.Replace(whole(packed, "Content-Encoding: gzip\r\n"), "200 OK", "400 X", 1)), calls: 1, class: provider.ClientError, status: 400},
		{why: "a 400 that is cut", say: func(c *rawConn) { c.write("HTTP/1.1 400 X\r\nContent-Length: 99\r\n\r\n{"); c.reset() }, calls: 1, class: provider.ClientError, status: 400},

		// Streams that never begin.
		{why: "an event without end", ask: askStream, say: func(c *rawConn) { c.write(streamHead + "data: "); c.flood("x") }, calls: 3, class: broken, status: 502, code: spoilt},
		{why: "comments without end", ask: askStream, say: func(c *rawConn) { c.write(streamHead); c.flood(": " + strings.Repeat("x", 1000) + "\n\n") }, calls: 3, class: broken, status: 502, code: spoilt},
		{why: "a first event with a NUL in it", ask: askStream, say: says(streamHead + chunk("a\x00b") + finish + doneEvent), calls: 3, class: broken, status: 502, code: spoilt},
		{why: "an RST behind the headers", ask: askStream, say: func(c *rawConn) { c.write(streamHead); c.reset() }, calls: 3, class: local, status: 502, code: lost},
		{why: "a stream that is packed", ask: askStream, say: says(strings.Replace(streamHead, "\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n", 1) + packed), calls: 3, class: broken, status: 502, code: spoilt},

		// Streams that begin and break: no other key, and no clean end.
		{why: "an RST amid a stream", ask: askStream, say: func(c *rawConn) { c.write(streamHead + chunk("a")); <-c.begun; c.reset() }, calls: 1, class: late, status: 200, body: chunk("a"), cut: true},
		{why: "a chunk whose size is none amid a stream", ask: askStream, say: says(ok200 + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(chunk("a")) + "zz\r\n"), calls: 1, class: late, status: 200, body: chunk("a"), cut: true},
		{why: "a stream without its last event", ask: askStream, say: says(streamHead + chunk("a")), calls: 1, class: late, status: 200, body: chunk("a"), cut: true},
		{why: "silence amid a stream", ask: askStream, say: func(c *rawConn) { c.write(streamHead + chunk("a")); c.hang() }, hangs: true, calls: 1, class: late, status: 200, body: chunk("a"), cut: true},
		{why: "an event without end amid a stream", ask: askStream, say: func(c *rawConn) { c.write(streamHead + chunk("a") + "data: "); c.flood("x") }, calls: 1, class: late, status: 200, body: chunk("a"), cut: true},
		{why: "an error late in a stream", ask: askStream, say: says(streamHead + chunk("a") + event(`{"error":{"message":"late"}}`) + doneEvent), calls: 1, class: late, status: 200, body: chunk("a"), cut: true},

		// Streams that are odd and whole.
		{why: "a NUL byte amid a stream", ask: askStream, say: says(streamHead + chunk("a") + ": \x00\n" + finish + doneEvent), calls: 1, class: good, status: 200, body: chunk("a") + ": \x00\n" + finish + doneEvent},
		{why: "all ends of lines at once", ask: askStream, say: says(streamHead + mixedEnds), calls: 1, class: good, status: 200, body: mixedEnds},
		{why: "a charset that streams do not have", ask: askStream, say: says(strings.Replace(streamHead, "stream", "stream; charset=iso-8859-1", 1) + goodStream), calls: 1, class: good, status: 200, body: goodStream},
		{why: "more behind the last event", ask: askStream, say: func(c *rawConn) { c.write(streamHead + goodStream); c.flood("data: more\n\n") }, calls: 1, class: good, status: 200, body: goodStream},
	}
}

// Whatever an upstream does: the verdict is the table's, the client gets what it says, no key is tried twice, nothing is
// tried once the client has a byte, an honest request is served afterwards, and nothing is left running.
func TestUpstreamsThatMisbehave(t *testing.T) {
	log.SetOutput(io.Discard) // net/http says there what it finds on a connection that nothing is to come on
	defer log.SetOutput(os.Stderr)
	for _, row := range misbehaviours() {
		noneLeft(t, row.why, func(t *testing.T) { row.run(t) })
	}
}

func (row misbehaviour) run(t *testing.T) {
	up := newRawUpstream(t, nil, row.say)
	b := newRawBench(t, "http", up)
	if row.hangs {
		b.upstreamIs("http://"+up.listener.Addr().String(), brief)
	}
	ask := row.ask
	if ask == "" {
		ask = askWhole
	}
	a := b.chat(ask)
	if calls, again, late := up.judge(); calls != row.calls || again != 0 || late != 0 {
		t.Errorf("%d calls, want %d; %d with a key again, %d after the first byte", calls, row.calls, again, late)
	}
	if got, want := b.book.classes(), slices.Repeat([]provider.Class{row.class}, row.calls); !slices.Equal(got, want) {
		t.Errorf("settled %v, want %v", got, want)
	}
	if a.status != row.status || (row.code != "" && a.code() != row.code) || a.header.Get("Retry-After") != row.retry {
		t.Errorf("got %d %q Retry-After %q %v: %.200q", a.status, a.code(), a.header.Get("Retry-After"), a.err, a.body)
	}
	if (a.err != nil) != row.cut {
		t.Errorf("it ended with %v", a.err)
	}
	switch rest, begins := strings.CutPrefix(a.body, row.body); {
	case row.body == "":
	case !begins, row.cut != strings.HasPrefix(rest, `data: {"error":{`), !row.cut && rest != "":
		t.Errorf("got %.300q", a.body)
	}
	if row.hangs {
		b.upstreamIs("http://"+up.listener.Addr().String(), patient)
	}
	b.servesHonestly(up)
}

// servesHonestly sends a request that the upstream answers as it should.
func (b *bench) servesHonestly(up *rawUpstream) {
	b.t.Helper()
	up.honest.Store(true)
	if a := b.chat(askWhole); a.status != 200 || a.body != goodWhole || a.err != nil {
		b.t.Errorf("an honest request got %d %q %v", a.status, a.body, a.err)
	}
}

func TestRedirectsAreNeverFollowed(t *testing.T) {
	for _, status := range []string{"300", "301", "302", "303", "304", "305", "307", "308"} {
		noneLeft(t, status, func(t *testing.T) {
			var visits atomic.Int32
			elsewhere := newRawUpstream(t, nil, func(*rawConn) { visits.Add(1) })
			at := "http://" + elsewhere.listener.Addr().String() + "/v1/chat/completions"
			up := newRawUpstream(t, nil, refuses(status+" X", "Location: "+at+"\r\nRefresh: 0;url="+at+"\r\n"))
			b := newRawBench(t, "http", up)
			a := b.chat(askWhole)
			if calls, _, _ := up.judge(); calls != 1 || visits.Load() != 0 {
				t.Errorf("%d calls, and %d at the target", calls, visits.Load())
			}
			if a.status != 502 || a.code() != "upstream_misconfigured" || a.header.Get("Location") != "" || strings.Contains(a.body, "127.0.0.1") {
				t.Errorf("got %d %v %s", a.status, a.header, a.body)
			}
			if got := b.book.classes(); !slices.Equal(got, []provider.Class{provider.LocalError}) {
				t.Errorf("settled %v", got)
			}
			b.servesHonestly(up)
		})
	}
}

func TestAnUpstreamThatRefusesConnections(t *testing.T) {
	noneLeft(t, "refused", func(t *testing.T) {
		up := newRawUpstream(t, nil, nil)
		b := newRawBench(t, "http", up)
		closed, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = closed.Close()
		b.upstreamIs("http://"+closed.Addr().String(), patient)
		if a := b.chat(askWhole); a.status != 502 || a.code() != "upstream_unreachable" || strings.Contains(a.body, "refused") {
			t.Errorf("got %d %s", a.status, a.body)
		}
		if got := b.book.classes(); !slices.Equal(got, slices.Repeat([]provider.Class{provider.LocalError}, 3)) {
			t.Errorf("settled %v", got)
		}
		b.upstreamIs("http://"+up.listener.Addr().String(), patient)
		b.servesHonestly(up)
	})
}

// An answer without end lasts for as long as the client likes, in little memory; then the upstream is left alone.
func TestAnswersWithoutEnd(t *testing.T) {
	for _, row := range []struct {
		why, ask, head, piece string
	}{
		{"a stream", askStream, streamHead, chunk(strings.Repeat("x", 1000))},
		{"a whole one", askWhole, toTheEnd + `{"choices":"`, strings.Repeat("x", 1000)},
	} {
		noneLeft(t, row.why, func(t *testing.T) {
			gone := make(chan struct{})
			up := newRawUpstream(t, nil, func(c *rawConn) {
				c.write(row.head)
				c.flood(row.piece)
				close(gone)
			})
			b := newRawBench(t, "http", up)
			free := b.proxy.bodies.free.Load()
			resp, err := b.client.Do(b.request("POST", "/v1/chat/completions", row.ask))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = io.CopyN(io.Discard, resp.Body, 40<<20); err != nil {
				t.Error(err)
			}
			if held := free - b.proxy.bodies.free.Load(); held > maxWhole {
				t.Errorf("%d bytes are held", held)
			}
			_ = resp.Body.Close()
			<-gone
			if !soon(func() bool { return slices.Equal(b.book.classes(), []provider.Class{provider.Canceled}) }) {
				t.Errorf("settled %v", b.book.classes())
			}
			if !soon(func() bool { return b.proxy.bodies.free.Load() == free }) {
				t.Errorf("%d bytes are held still", free-b.proxy.bodies.free.Load())
			}
			b.servesHonestly(up)
		})
	}
}

// With every attempt failing, a thousand requests make twelve hundred calls at most.
func TestAFailingUpstreamIsNotAskedSeveralTimesOver(t *testing.T) {
	for _, row := range []struct {
		why string
		say http.HandlerFunc
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 500, `{}`) }},
		{"cuts", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"errors within a 200", func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, `{"error":"x"}`) }},
		{"overload within a stream", func(w http.ResponseWriter, _ *http.Request) {
			sendStream(w, event(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`))
		}},
	} {
		noneLeft(t, row.why, func(t *testing.T) {
			var calls atomic.Int32
			b := newBench(t, 4, func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				row.say(w, r)
			})
			now := time.Now() // one window of the budget holds them all
			b.proxy.now = func() time.Time { return now }
			for range 1000 {
				b.chat(askWhole)
				b.proxy.upstreams.byID["ollama"].throttle.failed.reset() // it is the budget of tries that is looked at
			}
			if got := calls.Load(); got > 1200 || got < 1010 {
				t.Errorf("%d calls for 1000 requests", got)
			}
		})
	}
}
