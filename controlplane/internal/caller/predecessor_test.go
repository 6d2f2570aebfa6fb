package caller_test

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/caller"
)

// Whoever guesses is slowed down by address; only digests are looked up and compared; the valid token is never slowed.
func TestPredecessor_C5(t *testing.T) {
	const good = "admin-0123456789-abcdefghijklmnop"
	now := time.Unix(1e9, 0)
	a := caller.NewAuthenticator(caller.Config{
		Now: func() time.Time { return now },
		Lookup: func(hash [32]byte) (caller.Credential, bool, error) {
			known := sha256.Sum256([]byte(good))
			return caller.Credential{Name: "root", Hash: known, Role: caller.RoleAdmin}, hash == known, nil
		},
	})
	from, slowed := netip.MustParseAddr("192.0.2.7"), 0
	for range 1000 {
		_, err := a.Authenticate("Bearer "+good+"x", from)
		if !errors.Is(err, caller.ErrUnauthenticated) {
			t.Fatalf("got %v", err)
		}
		if _, ok := errors.AsType[*caller.ThrottledError](err); ok {
			slowed++
		}
		if c, err := a.Authenticate("Bearer "+good, from); err != nil || c.Name != "root" {
			t.Fatalf("the valid token: %v", err)
		}
	}
	if slowed != 1000-10 {
		t.Errorf("%d of 1000 guesses were slowed", slowed)
	}
}
