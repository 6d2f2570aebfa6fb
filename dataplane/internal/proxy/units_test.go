package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ollama-api-pool/dataplane/internal/provider"
)

func TestGuard(t *testing.T) {
	const no, private, yes = "never", "if private addresses are allowed", "always"
	for _, row := range []struct{ addr, may string }{
		{"1.1.1.1", yes},
		{"2606:4700::1111", yes},
		{"::ffff:1.1.1.1", yes},
		{"172.15.0.1", yes},
		{"172.32.0.1", yes},
		{"100.63.255.255", yes},
		{"100.128.0.1", yes},
		{"127.0.0.1", private},
		{"127.255.0.1", private},
		{"::1", private},
		{"::ffff:127.0.0.1", private},
		{"10.0.0.1", private},
		{"172.16.0.1", private},
		{"192.168.1.1", private},
		{"::ffff:192.168.1.1", private},
		{"100.64.0.1", private},
		{"fd12::1", private},
		{"0.0.0.0", no},
		{"0.1.2.3", no},
		{"::", no},
		{"169.254.169.254", no},
		{"::ffff:169.254.169.254", no},
		{"fe80::1", no},
		{"fe80::1%eth0", no},
		{"fd00:ec2::254", no},
		{"100.100.100.200", no},
		{"168.63.129.16", no},
		{"192.0.0.1", no},
		{"192.0.0.192", no},
		{"192.0.2.1", no},
		{"198.51.100.1", no},
		{"203.0.113.1", no},
		{"192.88.99.1", no},
		{"198.18.0.1", no},
		{"198.19.255.255", no},
		{"224.0.0.1", no},
		{"239.255.255.250", no},
		{"240.0.0.1", no},
		{"255.255.255.255", no},
		{"64:ff9b::a00:1", no},
		{"64:ff9b::7f00:1", no},
		{"64:ff9b:1::1", no},
		{"2002:7f00:1::", no},
		{"2002:a00:1::1", no},
		{"2001::1", no},
		{"2001:db8::1", no},
		{"3fff::1", no},
		{"100::1", no},
		{"fec0::1", no},
		{"ff02::1", no},
		{"::127.0.0.1", no},
		{"5f00::1", no},
	} {
		addr := netip.MustParseAddr(row.addr)
		if got := mayConnect(addr, false); got != (row.may == yes) {
			t.Errorf("%s: %v, want %s", row.addr, got, row.may)
		}
		if got := mayConnect(addr, true); got != (row.may != no) {
			t.Errorf("%s with private addresses: %v, want %s", row.addr, got, row.may)
		}
		host := row.addr
		if addr.Is6() {
			host = "[" + host + "]"
		}
		if got := guard(false)("tcp", host+":443", nil) == nil; got != (row.may == yes) {
			t.Errorf("the dialer's guard of %s: %v", host, got)
		}
	}
	if mayConnect(netip.Addr{}, true) || guard(true)("tcp", "nonsense", nil) == nil {
		t.Error("what is no address passes")
	}
}

func TestRetryBudget(t *testing.T) {
	var b retryBudget
	now := time.Unix(1_800_000_000, 0)
	spend := func(at time.Time) (n int) {
		for b.spend(at) {
			n++
		}
		return n
	}
	if got := spend(now); got != 10 {
		t.Errorf("without requests %d", got)
	}
	for range 100 {
		b.arrive(now.Add(time.Second))
	}
	if got := spend(now.Add(time.Second)); got != 10 {
		t.Errorf("after 100 requests %d more, want 20 in all", got)
	}
	if got := spend(now.Add(10 * time.Second)); got != 10 {
		t.Errorf("when the first ten have left the window %d", got)
	}
	if got := spend(now.Add(25 * time.Second)); got != 10 {
		t.Errorf("later, without requests, %d", got)
	}
}

func TestTries(t *testing.T) {
	again := provider.Verdict{Class: provider.ServerError, Next: provider.Again}
	once := provider.Verdict{Class: provider.Timeout, Next: provider.Once}
	other := provider.Verdict{Class: provider.RateLimited, Next: provider.OtherKey}
	for _, row := range []struct {
		why  string
		max  int
		met  []provider.Verdict
		want bool
	}{
		{"faults of keys cost no try", 1, []provider.Verdict{other, other, other, other, other, other, other}, true},
		{"but eight keys are the most", 1, []provider.Verdict{other, other, other, other, other, other, other, other}, false},
		{"three tries by default", 0, []provider.Verdict{again, again}, true},
		{"and not four", 0, []provider.Verdict{again, other, again, again}, false},
		{"one try is one try", 1, []provider.Verdict{again}, false},
		{"one more after a timeout", 5, []provider.Verdict{once}, true},
		{"and no third", 5, []provider.Verdict{once, other, once}, false},
		{"nothing after an answer", 5, []provider.Verdict{{Class: provider.ClientError}}, false},
	} {
		allowed := newTries(&provider.Provider{MaxTries: row.max}, &retryBudget{})
		got := true
		for _, v := range row.met {
			got = allowed.another(v, time.Unix(1_800_000_000, 0))
		}
		if got != row.want {
			t.Errorf("%s: %v", row.why, got)
		}
	}
}

func TestRedact(t *testing.T) {
	const secret = "sk-or-v1-CANARY0123456789abcdef"
	for _, row := range []struct{ why, message, want string }{
		{"plain words stay", "messages.0.content must be a string, got 17", "messages.0.content must be a string, got 17"},
		{"the model's name stays", "model 'anthropic/claude-3-5-sonnet-20241022' not found", "model 'anthropic/claude-3-5-sonnet-20241022' not found"},
		{"long words stay", "pneumonoultramicroscopicsilicovolcanoconiosis", "pneumonoultramicroscopicsilicovolcanoconiosis"},
		{"the key goes", "bad key " + secret + "!", "bad key [redacted]!"},
		{"a piece of it goes", "ends in 456789abcdef", "ends in [redacted]"},
		{"another key goes", "Incorrect API key provided: sk-proj-ab12cd34ef56", "Incorrect API key provided: [redacted]"},
		{"a masked key goes", "key sk-or-******wxyz is bad", "key [redacted] is bad"},
		{"a bearer goes", "sent Bearer abc123def456", "sent [redacted]"},
		{"an address goes", "see https://ollama.com/upgrade?x=1 now", "see [url] now"},
		{"the upstream's host goes", "dial upstream.test failed", "dial [host] failed"},
		{"another host goes", "from lb-3.prod.internal:8443/x", "from [host]"},
		{"an internal name goes with its port", "dial upstream.test:11434 failed", "dial [host] failed"},
		{"an IP goes", "from 10.0.0.7:443 and 2001:db8:0:1::5", "from [address] and [address]"},
		{"mail goes", "owner a.b@example.com", "owner [address]"},
		{"random text goes", "ref 9f8e7d6c5b4a39281706f5e4d3c2b1a0", "ref [redacted]"},
		{"control characters go", "a\x00b\nc", "a b c"},
	} {
		if got := redact(row.message, secret, "upstream.test", "anthropic/claude-3-5-sonnet-20241022"); got != row.want {
			t.Errorf("%s: got %q", row.why, got)
		}
	}
	if got := redact(strings.Repeat("ü ", 5000), secret, "", ""); len(got) > maxMessage || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("x sk-CANARY012 345", "sk-CANARY0123456789", "host", "m")
	f.Add("AAAAAAAAAAAAAAAAA", "AAAAAAAAAAAA", "", "")
	f.Add("0123456701234567", "01234567", "h", "0123456701234567")
	f.Add("\u06dd", "0", "\xdb", "0")
	f.Fuzz(func(t *testing.T, message, secret, host, model string) {
		got := redact(message, secret, host, model)
		if len(got) > maxMessage || !utf8.ValidString(got) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
		for i := 0; i+secretWindow <= len(secret); i++ {
			piece := secret[i : i+secretWindow]
			if strings.Contains(got, piece) && !strings.Contains("[redacted] [host] [url] [address]", piece) && !strings.ContainsAny(piece, "[] ") {
				t.Errorf("%q is still there: %q", piece, got)
			}
		}
	})
}

// split feeds the pieces and answers the events and what is left.
func split(pieces [][]byte) (events [][]byte, rest []byte) {
	var s splitter
	for _, p := range pieces {
		s.buf = append(s.buf, p...)
		for {
			e, ok := s.next()
			if !ok {
				break
			}
			events = append(events, bytes.Clone(e))
		}
		s.release(s.event)
	}
	return events, bytes.Clone(s.rest())
}

func payloads(events [][]byte) (all []string) {
	for _, e := range events {
		if data, has := eventData(e); has {
			all = append(all, string(data))
		}
	}
	return all
}

func TestEventData(t *testing.T) {
	for _, row := range []struct {
		why, event, want string
		has              bool
	}{
		{"a line", "data: x\n\n", "x", true},
		{"without a space", "data:x\n\n", "x", true},
		{"two spaces, of which one is data", "data:  x\n\n", " x", true},
		{"two lines", "data: a\ndata: b\n\n", "a\nb", true},
		{"no colon", "data\n\n", "", true},
		{"another field", "datum: x\n\n", "", false},
		{"a comment", ": data: x\n\n", "", false},
		{"CR LF", "event: e\r\ndata: x\r\n\r\n", "x", true},
		{"no end", "data: x", "x", true},
	} {
		if got, has := eventData([]byte(row.event)); string(got) != row.want || has != row.has {
			t.Errorf("%s: got %q %v", row.why, got, has)
		}
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add([]byte("data: a\n\ndata: b\r\n\r\n: c\rdata: d\r\rdata: e"), 1)
	f.Add([]byte("\r\n\n\r\r\n"), 1)
	f.Add([]byte("data: x\r\n\r"), 3)
	f.Add([]byte(goodStream), 7)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		size = min(max(size, 1), 64)
		var pieces [][]byte
		for at := 0; at < len(stream); at += size {
			pieces = append(pieces, stream[at:min(at+size, len(stream))])
		}
		events, rest := split(pieces)
		if got := append(bytes.Join(events, nil), rest...); !bytes.Equal(got, stream) {
			t.Fatalf("changed: %q", got)
		}
		whole, wholeRest := split([][]byte{stream})
		a, b := payloads(append(events, rest)), payloads(append(whole, wholeRest))
		if strings.Join(a, "\x00") != strings.Join(b, "\x00") || len(a) != len(b) {
			t.Fatalf("in pieces %q, at once %q", a, b)
		}
	})
}

func FuzzScanRequest(f *testing.F) {
	for _, seed := range []string{
		askWhole, askStream, `{"model":"a","model":"b","stream":false}`, `{"model":"\u006d","x":1e400}`, `{"Model":"x"}`, `null`, `{"model":null}`,
		"{\"model\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, prob := scanRequest(body, openAIChat)
		if prob != nil {
			if prob.status != 400 {
				t.Errorf("status %d", prob.status)
			}
			return
		}
		var want struct {
			Model  string `json:"model"`
			Stream bool   `json:"stream"`
		}
		err := json.Unmarshal(body, &want)
		if _, mixed := errors.AsType[*json.UnmarshalTypeError](err); mixed {
			return // an earlier duplicate of another type, which the upstream may judge
		}
		if err != nil || got.model != want.Model || got.stream != want.Stream {
			t.Errorf("%q: got %+v, encoding/json has %+v %v", body, got, want, err)
		}
	})
}

func BenchmarkStreamEvent(b *testing.B) {
	one := []byte(chunk("some words of an answer"))
	var s splitter
	b.ReportAllocs()
	for b.Loop() {
		s.buf = append(s.buf, one...)
		event, ok := s.next()
		if !ok || hasFinishReason(event) || bytes.Contains(event, []byte(`"error"`)) {
			b.Fatal("not an ordinary event")
		}
		s.release(s.event)
	}
}
