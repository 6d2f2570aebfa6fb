package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// certified makes a certificate for a name that signs itself, and the roots that trust it.
func certified(t *testing.T, name string, until time.Time) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "upstream"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// trusts makes the pool trust the roots where it reaches the provider now.
func (b *bench) trusts(roots *x509.CertPool) {
	b.t.Helper()
	up, err := b.proxy.upstreams.get(b.book.providers["ollama"])
	if err != nil {
		b.t.Fatal(err)
	}
	up.transport.TLSClientConfig.RootCAs = roots
}

// An upstream that cannot prove who it is gets no request, and so no key; whatever is wrong with it is no key's fault.
func TestUpstreamsThatCannotProveWhoTheyAre(t *testing.T) {
	good, goodRoots := certified(t, "127.0.0.1", time.Now().Add(time.Hour))
	expired, expiredRoots := certified(t, "127.0.0.1", time.Now().Add(-time.Hour))
	other, otherRoots := certified(t, "other.example", time.Now().Add(time.Hour))
	for _, row := range []struct {
		why    string
		config *tls.Config // nil: it does not speak TLS at all
		roots  *x509.CertPool
	}{
		{"an expired certificate", &tls.Config{Certificates: []tls.Certificate{expired}}, expiredRoots},
		{"a certificate for another name", &tls.Config{Certificates: []tls.Certificate{other}}, otherRoots},
		{"a certificate of nobody we know", &tls.Config{Certificates: []tls.Certificate{good}}, otherRoots},
		{"a version of long ago", &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, goodRoots},
		{"no TLS at all", nil, goodRoots},
	} {
		noneLeft(t, row.why, func(t *testing.T) {
			up := newRawUpstream(t, row.config, func(c *rawConn) { c.write(whole(goodWhole)) })
			b := newRawBench(t, "https", up)
			b.trusts(row.roots)
			a := b.chat(askWhole)
			if calls, _, _ := up.judge(); calls != 0 {
				t.Errorf("%d requests were sent", calls)
			}
			if a.status != 502 || a.code() != "upstream_unreachable" || strings.Contains(a.body, "certificate") || strings.Contains(a.body, "127.0.0.1") {
				t.Errorf("got %d %s", a.status, a.body)
			}
			if got := b.book.classes(); !slices.Equal(got, slices.Repeat([]provider.Class{provider.LocalError}, 3)) {
				t.Errorf("settled %v", got)
			}
			honest := newRawUpstream(t, &tls.Config{Certificates: []tls.Certificate{good}}, nil)
			b.upstreamIs("https://"+honest.listener.Addr().String(), patient)
			b.trusts(goodRoots)
			b.servesHonestly(honest)
		})
	}
}

// http2Frame is a frame as HTTP/2 has it.
func http2Frame(kind, flags byte, stream uint32, payload ...byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = append(head, flags)
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

const (
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	frameGoAway   = 7
)

// http2Code is a frame whose payload is numbers, such as a stream's and a code.
func http2Code(kind byte, stream uint32, numbers ...uint32) []byte {
	var payload []byte
	for _, n := range numbers {
		payload = binary.BigEndian.AppendUint32(payload, n)
	}
	return http2Frame(kind, 0, stream, payload...)
}

// rawHTTP2 answers each request with what then makes of its stream. It counts requests.
func rawHTTP2(t *testing.T, config *tls.Config, calls *atomic.Int32, then func(stream uint32) []byte) *rawUpstream {
	t.Helper()
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	up := listenRaw(t, config)
	up.talk = func(c net.Conn) {
		const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		if _, err := io.ReadFull(c, make([]byte, len(preface))); err != nil {
			return
		}
		_, _ = c.Write(http2Frame(frameSettings, 0, 0))
		for {
			var head [9]byte
			if _, err := io.ReadFull(c, head[:]); err != nil {
				return
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[:4])>>8)); err != nil {
				return
			}
			if head[3] == frameHeaders {
				calls.Add(1)
				_, _ = c.Write(then(binary.BigEndian.Uint32(head[5:])))
			}
		}
	}
	up.start(t)
	return up
}

// An upstream that speaks HTTP/2 may turn a request away in ways that say it was not looked at. The transport would send such
// a request again by itself, if it could; it must not, as it would be with the same key.
func TestHTTP2UpstreamsThatTurnRequestsAway(t *testing.T) {
	good, roots := certified(t, "127.0.0.1", time.Now().Add(time.Hour))
	config := &tls.Config{Certificates: []tls.Certificate{good}}
	for _, row := range []struct {
		why  string
		then func(stream uint32) []byte
	}{
		{"GOAWAY", func(uint32) []byte { return http2Code(frameGoAway, 0, 0, 0) }},
		{"GOAWAY, keep calm", func(uint32) []byte { return http2Code(frameGoAway, 0, 0, 11) }},
		{"RST_STREAM, refused", func(stream uint32) []byte { return http2Code(frameReset, stream, 7) }},
		{"RST_STREAM, internal error", func(stream uint32) []byte { return http2Code(frameReset, stream, 2) }},
		{"a frame that is none", func(uint32) []byte { return http2Frame(frameSettings, 0, 0, 1) }},
		{"HTTP/1.1 after all", func(uint32) []byte { return []byte(kept(goodWhole)) }},
	} {
		noneLeft(t, row.why, func(t *testing.T) {
			var calls atomic.Int32
			up := rawHTTP2(t, config, &calls, row.then)
			b := newRawBench(t, "https", up)
			b.trusts(roots)
			if a := b.chat(askWhole, "Idempotency-Key", "k"); a.status != 502 || a.code() != "upstream_unreachable" || calls.Load() != 3 {
				t.Errorf("got %d %s after %d calls", a.status, a.body, calls.Load())
			}
			if got := b.book.classes(); !slices.Equal(got, slices.Repeat([]provider.Class{provider.LocalError}, 3)) {
				t.Errorf("settled %v", got)
			}
			honest := newRawUpstream(t, config, nil)
			b.upstreamIs("https://"+honest.listener.Addr().String(), patient)
			b.trusts(roots)
			b.servesHonestly(honest)
		})
	}
}

// An HTTP/2 upstream that breaks an answer off, or bids farewell while it goes on.
func TestHTTP2UpstreamsThatBreakOff(t *testing.T) {
	for _, row := range []struct {
		why     string
		ask     string
		say     func(w http.ResponseWriter)
		calls   int32
		classes []provider.Class
		status  int
		body    string
		cut     bool
	}{
		{"a reset amid an answer", askWhole, func(w http.ResponseWriter) {
			sendJSON(w, 200, goodWhole[:9])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 3, slices.Repeat([]provider.Class{provider.Broken}, 3), 502, "", false},
		{"a farewell with an answer", askWhole, func(w http.ResponseWriter) {
			w.Header().Set("Connection", "close") // which Go's server makes a GOAWAY of
			sendJSON(w, 200, goodWhole)
		}, 1, []provider.Class{provider.OK}, 200, goodWhole, false},
		{"a farewell amid a stream, which goes on", askStream, func(w http.ResponseWriter) {
			w.Header().Set("Connection", "close")
			sendStream(w, chunk("a"), finish, doneEvent)
		}, 1, []provider.Class{provider.OK}, 200, chunk("a") + finish + doneEvent, false},
		{"a stream without its end", askStream, func(w http.ResponseWriter) { sendStream(w, chunk("a")) }, 1, []provider.Class{provider.Truncated}, 200, chunk("a"), true},
	} {
		noneLeft(t, row.why, func(t *testing.T) {
			var calls atomic.Int32
			var honest atomic.Bool
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("spoken to in %s", r.Proto)
				}
				if honest.Load() {
					sendJSON(w, 200, goodWhole)
					return
				}
				calls.Add(1)
				row.say(w)
			}))
			up.EnableHTTP2 = true
			up.StartTLS()
			defer up.Close()
			b := newBench(t, 4, noCalls(t))
			b.upstreamIs(up.URL, patient)
			b.trusts(up.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs)
			a := b.chat(row.ask)
			if a.status != row.status || (a.err != nil) != row.cut || !strings.HasPrefix(a.body, row.body) || calls.Load() != row.calls {
				t.Errorf("got %d %q %v after %d calls", a.status, a.body, a.err, calls.Load())
			}
			if got := b.book.classes(); !slices.Equal(got, row.classes) {
				t.Errorf("settled %v", got)
			}
			honest.Store(true)
			if a := b.chat(askWhole); a.status != 200 || a.body != goodWhole {
				t.Errorf("an honest request got %d %s", a.status, a.body)
			}
		})
	}
}
