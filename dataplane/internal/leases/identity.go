package leases

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// serverName is the name in every control plane's certificate, whatever its address.
const serverName = "controlplane.apipool"

const (
	keyFile  = "node.key"
	certFile = "node.crt"
	caFile   = "ca.crt"
)

// identity is what the node proves itself with: its key, its certificate, and the one CA it trusts.
type identity struct {
	key  *ecdsa.PrivateKey
	leaf *x509.Certificate
	ca   *x509.Certificate
}

// loadIdentity reads the node's files; nil: there are none yet.
func loadIdentity(dir string) (*identity, error) {
	key, err := readPEM(filepath.Join(dir, keyFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	id := &identity{}
	if id.key, err = x509.ParseECPrivateKey(key); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, keyFile), err)
	}
	for name, into := range map[string]**x509.Certificate{certFile: &id.leaf, caFile: &id.ca} {
		der, err := readPEM(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if *into, err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	if !id.key.PublicKey.Equal(id.leaf.PublicKey) { // a crash cut off the saving of what joining anew had brought
		return nil, nil
	}
	return id, nil
}

// save writes the node's files. The key goes last: without it the others are nothing, with it they must be there.
func (id *identity) save(dir string) error {
	key, err := x509.MarshalECPrivateKey(id.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{caFile, "CERTIFICATE", id.ca.Raw}, {certFile, "CERTIFICATE", id.leaf.Raw}, {keyFile, "EC PRIVATE KEY", key}} {
		if err := writePEM(filepath.Join(dir, f.name), f.kind, f.der); err != nil {
			return err
		}
	}
	return nil
}

// newRequest makes a PKCS #10 request; only its public key matters to the other side.
func newRequest(key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// tls answers how the node talks to the control plane once it has joined: mutual, TLS 1.3, one CA, one name.
func (id *identity) tls(now func() time.Time) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(id.ca)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		RootCAs:      roots,
		ServerName:   serverName,
		Time:         now,
		Certificates: []tls.Certificate{{Certificate: [][]byte{id.leaf.Raw}, PrivateKey: id.key, Leaf: id.leaf}},
	}
}

// renewAt is the middle of the certificate's life.
func (id *identity) renewAt() time.Time {
	return id.leaf.NotBefore.Add(id.leaf.NotAfter.Sub(id.leaf.NotBefore) / 2)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}

// writePEM replaces a file whole: a crash leaves the old one or the new one.
func writePEM(path, kind string, der []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: der})
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
