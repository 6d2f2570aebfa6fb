package caller

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"strings"
	"time"
)

// Credential is an admin's, as it is kept: the token itself is not.
type Credential struct {
	Name string
	Hash [32]byte // SHA-256 of the token
	Role Role
}

// Config of an Authenticator.
type Config struct {
	// Lookup answers the credential with this digest. An error means that it cannot be known now, which is not "unknown".
	Lookup func(hash [32]byte) (Credential, bool, error)
	// Now is the clock; default time.Now.
	Now func() time.Time
}

func (c Config) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Authenticator tells admins by their bearer token.
type Authenticator struct {
	config   Config
	failures limiter
}

// NewAuthenticator makes one.
func NewAuthenticator(c Config) *Authenticator { return &Authenticator{config: c} }

// Authenticate answers whose token the Authorization header holds. It fails with ErrUnauthenticated, with ThrottledError
// after too many failures from the address, or with Lookup's error.
func (a *Authenticator) Authenticate(authorization string, from netip.Addr) (Caller, error) {
	token, ok := bearer(authorization)
	if !ok {
		return Caller{}, a.refuse(from)
	}
	hash := sha256.Sum256([]byte(token))
	found, ok, err := a.config.Lookup(hash)
	if err != nil {
		return Caller{}, err
	}
	if !ok || subtle.ConstantTimeCompare(found.Hash[:], hash[:]) != 1 {
		return Caller{}, a.refuse(from)
	}
	return Caller{Kind: KindAdmin, Name: found.Name, Role: found.Role}, nil
}

func (a *Authenticator) refuse(from netip.Addr) error {
	if wait := a.failures.fail(from, a.config.now()); wait > 0 {
		return &ThrottledError{RetryAfter: wait}
	}
	return ErrUnauthenticated
}

func bearer(authorization string) (token string, ok bool) {
	scheme, token, found := strings.Cut(authorization, " ")
	return token, found && token != "" && strings.EqualFold(scheme, "bearer")
}
