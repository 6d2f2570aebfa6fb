package ca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/ca"
)

func TestANodeIsWhoItsCertificateSays(t *testing.T) {
	now := time.Now()
	c, err := ca.New("c1", now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = ca.Load("c1", text); err != nil {
		t.Fatal(err)
	}
	want := ca.Name{Region: "eu-west", Node: "eu-west-1.example"}
	cert, err := c.IssueNode(publicKey(t), want, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.NameOf(cert); err != nil || got != want {
		t.Errorf("NameOf = %v, %v; want %v", got, err, want)
	}
	client := x509.VerifyOptions{Roots: c.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Verify(client); err != nil {
		t.Errorf("a node's certificate is not good for a client: %v", err)
	}
	client.CurrentTime = now.Add(8 * 24 * time.Hour)
	if _, err := cert.Verify(client); err == nil {
		t.Error("a node's certificate is still good after eight days")
	}

	other, err := ca.New("c2", now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.NameOf(cert); err == nil {
		t.Error("another cluster takes the node for its own")
	}
	client = x509.VerifyOptions{Roots: other.Pool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Verify(client); err == nil {
		t.Error("another cluster's CA vouches for the certificate")
	}
	server, err := c.ServerCertificate(now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NameOf(server.Leaf); err == nil {
		t.Error("the control plane's own certificate passes for a node's")
	}
}

func TestNamesThatAreRefused(t *testing.T) {
	c, err := ca.New("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []ca.Name{
		{"", "n"}, {"r", ""}, {"r", "a/b"}, {"r/x", "n"}, {"r", "../n"}, {"r", "N"}, {"r", "n\n"}, {"r", "-n"}, {"r", "n."}, {"a.b", "n"},
	} {
		if _, err := c.IssueNode(publicKey(t), n, time.Now()); err == nil {
			t.Errorf("a certificate was issued for %q", n)
		}
	}
}

func publicKey(t *testing.T) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}
