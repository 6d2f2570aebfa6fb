package system

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// impostor is a control plane that says whatever a test has it say, to a real data plane that trusts its CA.
type impostor struct {
	leasev1.UnimplementedLeaseServiceServer
	sound func() *leasev1.ResourceDelta // the whole state, as it is

	mu       sync.Mutex
	says     func(s *speech) error // instead of a sound sync, once; nil: nothing is planned
	current  func()                // ends the session that is open
	sessions int                   // that were told the sound state
	cut      atomic.Bool           // the next message of some size is sent by half, and its connection closed
}

// speech is one session that the impostor holds.
type speech struct {
	leasev1.LeaseService_SessionServer
	welcome *leasev1.Welcome
	mu      sync.Mutex // of Send
}

func (s *speech) say(m *leasev1.SessionResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Send(m)
}

func (s *speech) delta(d *leasev1.ResourceDelta) error {
	return s.say(&leasev1.SessionResponse{Message: &leasev1.SessionResponse_Delta{Delta: d}})
}

func (s *speech) begin() error {
	return s.say(&leasev1.SessionResponse{Message: &leasev1.SessionResponse_Welcome{Welcome: s.welcome}})
}

// poison plans what the next session says after its Hello, and ends the one that is open.
func (i *impostor) poison(says func(s *speech) error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.says = says
	if i.current != nil {
		i.current()
	}
}

// synced answers how many sessions were given the sound state.
func (i *impostor) synced() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sessions
}

// Session says what was planned, or else the sound state; then it renews leases until the node leaves.
func (i *impostor) Session(stream leasev1.LeaseService_SessionServer) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	s := &speech{LeaseService_SessionServer: stream, welcome: &leasev1.Welcome{
		NodeEpoch: 3, Term: 7, Lineage: []byte("0123456789abcdef"), LeaseTtl: durationpb.New(time.Minute),
		Grace: durationpb.New(time.Hour), HeartbeatInterval: durationpb.New(200 * time.Millisecond),
		ReportInterval: durationpb.New(200 * time.Millisecond), ReconnectSpread: durationpb.New(50 * time.Millisecond),
		OutcomeWindow: 4, LiveNodes: 1,
	}}
	over := make(chan struct{})
	i.mu.Lock()
	says := i.says
	i.says, i.current = nil, sync.OnceFunc(func() { close(over) })
	i.mu.Unlock()
	if says == nil {
		says = func(s *speech) error {
			err := errors.Join(s.begin(), s.delta(i.sound()))
			i.mu.Lock()
			defer i.mu.Unlock()
			i.sessions++
			return err
		}
	}
	if err := says(s); err != nil {
		return err
	}
	heard := make(chan error, 1)
	go func() { heard <- i.renew(s) }()
	select {
	case err := <-heard:
		return err
	case <-over:
		return status.Error(codes.Unavailable, "the test ends this session")
	}
}

func (i *impostor) renew(s *speech) error {
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if beat := m.GetHeartbeat(); beat != nil {
			err = s.say(&leasev1.SessionResponse{Message: &leasev1.SessionResponse_Renewal{Renewal: &leasev1.LeaseRenewal{
				HeartbeatSeq: beat.GetHeartbeatSeq(), Term: s.welcome.GetTerm(), LeaseTtl: s.welcome.GetLeaseTtl(),
			}}})
		}
		if err != nil {
			return err
		}
	}
}

// ReportOutcomes confirms everything.
func (i *impostor) ReportOutcomes(stream leasev1.LeaseService_ReportOutcomesServer) error {
	for {
		batch, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&leasev1.ReportOutcomesResponse{NodeEpoch: batch.GetNodeEpoch(), CommittedSeq: batch.GetSeq()}); err != nil {
			return err
		}
	}
}

// serve listens, and leaves in the node's folder what a join would have.
func (i *impostor) serve(t *testing.T, address, folder string) {
	t.Helper()
	ca, caKey := certificate(t, nil, nil, "the test's CA")
	own, ownKey := certificate(t, ca, caKey, "controlplane.apipool")
	node, nodeKey := certificate(t, ca, caKey, "node")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []pemFile{{"ca.crt", "CERTIFICATE", ca.Raw}, {"node.crt", "CERTIFICATE", node.Raw}, {"node.key", "EC PRIVATE KEY", key}} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(filepath.Join(folder, f.name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{own.Raw}, PrivateKey: ownKey}},
	})))
	leasev1.RegisterLeaseServiceServer(server, i)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(&scissors{l, i}) }()
	t.Cleanup(server.Stop)
}

type pemFile struct {
	name, kind string
	der        []byte
}

// certificate makes one that the CA has signed; without a CA, one that is a CA.
func certificate(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true,
	}
	if ca == nil {
		template.IsCA, template.KeyUsage, template.DNSNames = true, x509.KeyUsageCertSign, nil
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

// scissors cuts connections in the middle of a message when the impostor says so.
type scissors struct {
	net.Listener
	of *impostor
}

func (s *scissors) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &cuttable{c, s.of}, nil
}

type cuttable struct {
	net.Conn
	of *impostor
}

func (c *cuttable) Write(b []byte) (int, error) {
	if len(b) > 4000 && c.of.cut.CompareAndSwap(true, false) { // no handshake is that large
		n, _ := c.Conn.Write(b[:len(b)/2])
		_ = c.Close()
		return n, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}
