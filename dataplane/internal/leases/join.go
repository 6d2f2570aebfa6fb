package leases

import (
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// exporterLabel binds a proof to one TLS connection: a proof seen on another connection is worth nothing.
const exporterLabel = "EXPORTER-apipool-join"

// ErrNotTheControlPlane tells that the other side could not prove that it knows the join token.
var ErrNotTheControlPlane = errors.New("the control plane could not prove that it knows the join token: " +
	"either the token is not its, or somebody stands in between; nothing was installed")

// join turns the join token into an identity. The other side's certificate cannot be checked yet; its proof is, before
// anything it sent is believed. The token itself never leaves this process.
func (l *Link) join(ctx context.Context) (*identity, error) {
	token, err := l.cfg.JoinToken()
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	request, err := newRequest(key)
	if err != nil {
		return nil, err
	}
	channel := &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: serverName,
		// Not a hole: both sides prove the token over this very channel's exporter, so a man in the middle fails.
		InsecureSkipVerify: true, //nolint:gosec // see above
	}
	conn, err := l.connect(credentials.NewTLS(channel))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// A first call brings the channel up; the proof needs its exporter, so it travels as a credential of the call.
	proof := &channelProof{token: token}
	var at peer.Peer
	resp, err := leasev1.NewLeaseServiceClient(conn).Join(ctx, &leasev1.JoinRequest{
		NodeId: l.cfg.NodeID, Region: l.cfg.Region, CertificateRequest: request,
	}, grpc.PerRPCCredentials(proof), grpc.Peer(&at))
	if err != nil {
		return nil, err
	}
	exported, err := exporterOf(at.AuthInfo)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(resp.GetProof(), prove(token, "controlplane", exported)) {
		return nil, ErrNotTheControlPlane
	}
	return newIdentity(resp, key)
}

func newIdentity(resp interface {
	GetCertificate() []byte
	GetCaCertificate() []byte
}, key *ecdsa.PrivateKey,
) (*identity, error) {
	leaf, err := x509.ParseCertificate(resp.GetCertificate())
	if err != nil {
		return nil, fmt.Errorf("certificate from the control plane: %w", err)
	}
	ca, err := x509.ParseCertificate(resp.GetCaCertificate())
	if err != nil {
		return nil, fmt.Errorf("CA certificate from the control plane: %w", err)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the control plane signed another key than this node's")
	}
	return &identity{key: key, leaf: leaf, ca: ca}, nil
}

// channelProof answers the node's proof for the channel that a call goes over.
type channelProof struct{ token Secret }

// proofHeader carries the node's proof: it is made from the channel, which only the call's credentials can see.
const proofHeader = "apipool-join-proof-bin"

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c *channelProof) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	info, _ := credentials.RequestInfoFromContext(ctx)
	exported, err := exporterOf(info.AuthInfo)
	if err != nil {
		return nil, err
	}
	return map[string]string{proofHeader: string(prove(c.token, "node", exported))}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (*channelProof) RequireTransportSecurity() bool { return true }

func exporterOf(info credentials.AuthInfo) ([]byte, error) {
	t, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, errors.New("not a TLS channel")
	}
	return t.State.ExportKeyingMaterial(exporterLabel, nil, 32)
}

func prove(token Secret, role string, exported []byte) []byte {
	mac := hmac.New(sha256.New, []byte(token.Reveal()))
	mac.Write([]byte(role))
	mac.Write(exported)
	return mac.Sum(nil)
}
