// Package ca is the cluster's own certificate authority: it names nodes, so that a data plane's name and region come from
// its certificate and never from what it says. The CA is made at init and lives as long as the cluster; node certificates
// live seven days and are renewed at half of that; the control plane's own certificate is made anew at each start.
package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	// ServerName is the name in the control plane's certificate, whatever its address.
	ServerName = "controlplane.apipool"

	caLife     = 20 * 365 * 24 * time.Hour
	nodeLife   = 7 * 24 * time.Hour
	serverLife = 2 * 365 * 24 * time.Hour
	backdate   = 5 * time.Minute // clocks differ
)

// CA signs for one cluster.
type CA struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// Name is who a node is, as its certificate says.
type Name struct{ Region, Node string }

var (
	nodeName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)
	regionName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// Check says what is wrong with a name.
func (n Name) Check() error {
	switch {
	case !nodeName.MatchString(n.Node):
		return errors.New("a node id is 1 to 63 of a-z, 0-9, '-' and '.', and begins and ends with a letter or digit")
	case !regionName.MatchString(n.Region):
		return errors.New("a region is 1 to 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit")
	}
	return nil
}

// New makes a CA for a cluster.
func New(cluster string, now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "apipool " + cluster},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &CA{cluster: cluster, cert: cert, key: key}, err
}

// Marshal answers certificate and key in PEM, for the sealed store.
func (c *CA) Marshal() (string, error) {
	key, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})), nil
}

// Load reads what Marshal wrote.
func Load(cluster, text string) (*CA, error) {
	pair, err := tls.X509KeyPair([]byte(text), []byte(text))
	if err != nil {
		return nil, fmt.Errorf("the cluster's CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the cluster's CA has a key of an unknown kind")
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	return &CA{cluster: cluster, cert: cert, key: key}, err
}

// Certificate is the CA's own, in DER.
func (c *CA) Certificate() []byte { return c.cert.Raw }

// Pool is what the control plane checks nodes' certificates against.
func (c *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// IssueNode signs a node's public key under its name.
func (c *CA) IssueNode(public crypto.PublicKey, n Name, now time.Time) (*x509.Certificate, error) {
	if err := n.Check(); err != nil {
		return nil, err
	}
	return c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: n.Node}, URIs: []*url.URL{c.uri(n)},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(nodeLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, public)
}

// ServerCertificate makes the control plane's certificate for one start.
func (c *CA) ServerCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: ServerName}, DNSNames: []string{ServerName},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, &key.PublicKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// NameOf answers who a verified certificate names.
func (c *CA) NameOf(cert *x509.Certificate) (Name, error) {
	for _, u := range cert.URIs {
		parts := strings.Split(u.Path, "/")
		if u.Scheme != "spiffe" || u.Host != c.cluster || len(parts) != 5 || parts[1] != "region" || parts[3] != "node" {
			continue
		}
		if n := (Name{Region: parts[2], Node: parts[4]}); n.Check() == nil {
			return n, nil
		}
	}
	return Name{}, errors.New("the certificate names no node of this cluster")
}

func (c *CA) uri(n Name) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: c.cluster, Path: "/region/" + n.Region + "/node/" + n.Node}
}

func (c *CA) sign(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	template.SerialNumber = serial()
	if template.NotAfter.After(c.cert.NotAfter) {
		template.NotAfter = c.cert.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, public, c.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails: see crypto/rand
	b[0] = b[0]&0x7f | 1
	return new(big.Int).SetBytes(b)
}
