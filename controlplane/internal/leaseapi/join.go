package leaseapi

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"ollama-api-pool/controlplane/internal/ca"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

const (
	exporterLabel = "EXPORTER-apipool-join"
	proofHeader   = "apipool-join-proof-bin"
)

var errNoProof = status.Error(codes.PermissionDenied,
	"no valid join token was proved: it is unknown, used up, over, or for another region")

// Join admits a node that proves a join token over this very channel, and proves the token back. Consuming a one-time token
// and making the node are one transaction, so that of many who race with one token exactly one wins.
func (a *API) Join(ctx context.Context, req *leasev1.JoinRequest) (*leasev1.JoinResponse, error) {
	name := ca.Name{Region: req.GetRegion(), Node: req.GetNodeId()}
	if err := name.Check(); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	request, err := x509.ParseCertificateRequest(req.GetCertificateRequest())
	if err != nil || request.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "the certificate request is not a signed PKCS #10 request")
	}
	exported, proof, err := channelOf(ctx)
	if err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	if taken := a.taken(now, name.Node); taken != nil {
		a.cfg.Logger.Warn("join refused", "node", name.Node, "reason", status.Convert(taken).Message())
		// Said only to those who know a token.
		if _, ok := a.matchToken(now, name, proof, exported); !ok {
			return nil, errNoProof
		}
		return nil, taken
	}
	cert, err := a.cfg.CA.IssueNode(request.PublicKey, name, now)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	token, err := a.admit(ctx, now, name, cert, proof, exported)
	if err != nil {
		return nil, err
	}
	a.cfg.Logger.Info("node joined", "node", name.Node, "region", name.Region)
	return &leasev1.JoinResponse{
		Proof: prove(token, "controlplane", exported), Certificate: cert.Raw, CaCertificate: a.cfg.CA.Certificate(),
	}, nil
}

// taken answers why no node can join under the name; nil: one can.
func (a *API) taken(now time.Time, name string) error {
	switch id := pool.NodeID(name); {
	case a.cfg.Pool.Evicted(id):
		return errEvictedName(name)
	case a.cfg.Pool.LiveLease(now, id):
		return status.Errorf(codes.AlreadyExists,
			"a node named %q has a live lease: choose another --node-id, or wait until it has ended", name)
	default:
		return nil
	}
}

// admit consumes the token and makes the node, or answers why not.
func (a *API) admit(ctx context.Context, now time.Time, name ca.Name, cert *x509.Certificate, proof, exported []byte) (pool.Secret, error) {
	var token pool.Secret
	_, err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if t := a.cfg.ReusableJoinToken; !t.IsZero() && hmac.Equal(proof, prove(t, "node", exported)) {
			token = t
			return putNode(tx, now, name, cert)
		}
		for t, err := range tx.JoinTokens() {
			if err != nil {
				return err
			}
			if !fits(t, name, now) || !hmac.Equal(proof, prove(t.Secret, "node", exported)) {
				continue
			}
			token = t.Secret
			if err := tx.DeleteJoinToken(t.ID); err != nil {
				return err
			}
			return putNode(tx, now, name, cert)
		}
		return errNoProof
	})
	switch {
	case errors.Is(err, errNoProof):
		a.cfg.Logger.Warn("join refused: no valid token was proved", "node", name.Node, "region", name.Region)
		return token, errNoProof
	case errors.Is(err, errEvicted):
		return token, errEvictedName(name.Node)
	case err != nil:
		a.cfg.Logger.Error("join not saved", "node", name.Node, "error", err.Error())
		return token, status.Error(codes.Unavailable, "the control plane cannot save the node now")
	}
	return token, nil
}

// matchToken says whether any valid token was proved, without consuming it.
func (a *API) matchToken(now time.Time, name ca.Name, proof, exported []byte) (pool.Secret, bool) {
	if t := a.cfg.ReusableJoinToken; !t.IsZero() && hmac.Equal(proof, prove(t, "node", exported)) {
		return t, true
	}
	var found pool.Secret
	_ = a.cfg.Store.View(func(tx *store.Tx) error {
		for t, err := range tx.JoinTokens() {
			if err == nil && fits(t, name, now) && hmac.Equal(proof, prove(t.Secret, "node", exported)) {
				found = t.Secret
			}
		}
		return nil
	})
	return found, !found.IsZero()
}

func fits(t store.JoinToken, name ca.Name, now time.Time) bool {
	return now.Before(t.ExpireTime) && (t.Region == "" || t.Region == name.Region)
}

// putNode makes the node or replaces its certificate; its epoch goes on, so that an older process of it is fenced.
func putNode(tx *store.Tx, now time.Time, name ca.Name, cert *x509.Certificate) error {
	n, err := tx.Node(pool.NodeID(name.Node))
	switch {
	case errors.Is(err, store.ErrNotFound):
		n = pool.NodeRecord{ID: pool.NodeID(name.Node), JoinTime: now}
	case err != nil:
		return err
	case !n.EvictTime.IsZero(): // since the caller looked
		return errEvicted
	}
	n.Region, n.CertificateSerial = name.Region, cert.SerialNumber.Bytes()
	return tx.PutNode(n)
}

// RenewCertificate answers the calling node's next certificate.
func (a *API) RenewCertificate(ctx context.Context, req *leasev1.RenewCertificateRequest) (*leasev1.RenewCertificateResponse, error) {
	request, err := x509.ParseCertificateRequest(req.GetCertificateRequest())
	if err != nil || request.CheckSignature() != nil {
		return nil, status.Error(codes.InvalidArgument, "the certificate request is not a signed PKCS #10 request")
	}
	now, name := a.cfg.Now(), caller(ctx)
	cert, err := a.cfg.CA.IssueNode(request.PublicKey, name, now)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if _, err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error { return putNode(tx, now, name, cert) }); err != nil {
		if errors.Is(err, errEvicted) {
			return nil, errEvicted
		}
		return nil, status.Error(codes.Unavailable, "the control plane cannot save the certificate now")
	}
	return &leasev1.RenewCertificateResponse{Certificate: cert.Raw, CaCertificate: a.cfg.CA.Certificate()}, nil
}

// channelOf answers what is unique to the call's channel, and the node's proof made from it.
func channelOf(ctx context.Context) (exported, proof []byte, err error) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, nil, errNoProof
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, nil, errNoProof
	}
	if exported, err = info.State.ExportKeyingMaterial(exporterLabel, nil, 32); err != nil {
		return nil, nil, errNoProof
	}
	md, _ := metadata.FromIncomingContext(ctx)
	given := md.Get(proofHeader)
	if len(given) != 1 || len(given[0]) != sha256.Size {
		return nil, nil, errNoProof
	}
	return exported, []byte(given[0]), nil
}

func prove(token pool.Secret, role string, exported []byte) []byte {
	mac := hmac.New(sha256.New, []byte(token.Reveal()))
	mac.Write([]byte(role))
	mac.Write(exported)
	return mac.Sum(nil)
}
