package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Clients that open streams over HTTP/2 and reset them at once make work for the node and wait for nothing. The node lets
// them, or closes their connection; honest clients over HTTP/2 are all served, and nothing is left over.
func TestProcessAFloodOfResets(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	f.addKey(secret(0), fakellm.Behaviour{})
	token := f.addToken("resets")
	cert, key := f.certificate(t)
	f.startNode("tls-1@eu-west", "--tls-cert-file", cert, "--tls-key-file", key)
	f.wait("http://" + f.port("tls-1-ops") + "/readyz")
	base := "https://" + f.port("tls-1")
	warm := serveHonest(t, token, base)
	time.Sleep(time.Second)
	warm.end(t, "peace over HTTP/2")
	before := f.rest("tls-1")

	h := serveHonest(t, token, base)
	const conns, resets = 4, 20_000
	floods := &crowd{fleet: f, node: "tls-1"}
	sent := make([]int, conns)
	floods.each(t, conns, func(i int, w *wire) {
		c := tls.Client(w.TCPConn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err := c.Handshake(); err != nil || c.ConnectionState().NegotiatedProtocol != "h2" {
			t.Errorf("%v, %q is spoken", err, c.ConnectionState().NegotiatedProtocol)
			return
		}
		sent[i] = floodResets(c, token, resets)
	})
	h.end(t, "a flood of resets")
	f.wantNothingLeft("tls-1", before)
	all := 0
	for _, n := range sent {
		all += n
	}
	if all < 1000 {
		t.Errorf("only %d streams were reset: this proves nothing", all)
	}
	figure(t, "none", "streams opened and reset before the connection was closed", "%v of %d each", sent, resets)
	if h.protocol() != "HTTP/2.0" {
		t.Errorf("the honest spoke %s", h.protocol())
	}
	f.scan(token)
}

// floodResets opens and resets streams until it has done so often enough and the node has read it all, or has closed the
// connection.
func floodResets(c net.Conn, token string, times int) (done int) {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	read := make(chan struct{})
	go func() {
		defer close(read)
		awaitPong(c)
	}()
	defer func() {
		_, _ = c.Write(frame(6, 0, 0, make([]byte, 8))) // PING
		<-read
		c.Close()
	}()
	head := []byte{0x83, 0x87} // POST, https
	head = literal(head, 4, "/v1/chat/completions")
	head = literal(head, 1, "pool")
	head = literal(head, 23, "Bearer "+token)
	head = literal(head, 31, "application/json")
	hello := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(4, 0, 0, nil)...)
	if _, err := c.Write(hello); err != nil {
		return 0
	}
	for id := uint32(1); done < times; done++ {
		out := append(frame(1, 4, id, head), frame(3, 0, id, []byte{0, 0, 0, 8})...) // HEADERS, and RST_STREAM: CANCEL
		if _, err := c.Write(out); err != nil {
			return done
		}
		id += 2
	}
	return done
}

// awaitPong reads until a PING is answered or the connection ends.
func awaitPong(c io.Reader) {
	for {
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, c, size); err != nil || head[3] == 6 && head[4] == 1 {
			return
		}
	}
}

// frame is one of HTTP/2.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, stream), payload...)
}

// literal adds a header whose name is in HPACK's static table, and whose value is short and goes as it is.
func literal(b []byte, name byte, value string) []byte {
	if name < 15 {
		b = append(b, name)
	} else {
		b = append(b, 15, name-15)
	}
	return append(append(b, byte(len(value))), value...)
}

// certificate makes one for this machine, and answers the files that it and its key are in.
func (f *fleet) certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, text, text, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = f.path("tls.crt"), f.path("tls.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
