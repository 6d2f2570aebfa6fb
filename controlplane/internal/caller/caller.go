// Package caller says who is calling: an admin with a credential, or a node with a certificate. It puts the answer into
// the context and refuses, by default, every method that nobody has given a policy.
//
// It keeps no credential: only digests are looked up and compared. What a refusal looks like on the wire is decided by the
// API package that maps its errors.
package caller

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind is which sort of credential the caller showed.
type Kind uint8

// The kinds.
const (
	KindAdmin Kind = 1 + iota // a bearer token
	KindNode                  // a client certificate
)

// Caller is an authenticated peer.
type Caller struct {
	Kind Kind
	Name string // of the admin, or the node's id
	Role Role   // of an admin; a node has none
}

type contextKey struct{}

// With puts the caller into the context.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From answers the caller, if anyone was authenticated.
func From(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(contextKey{}).(Caller)
	return c, ok
}

// WithAdmin puts an admin into the context.
func WithAdmin(ctx context.Context, name string, role Role) context.Context {
	return With(ctx, Caller{Kind: KindAdmin, Name: name, Role: role})
}

// Admin answers the caller if it is an admin.
func Admin(ctx context.Context) (Caller, bool) {
	c, ok := From(ctx)
	return c, ok && c.Kind == KindAdmin
}

// Errors of this package. Their texts are constant: nothing a caller sent is ever part of them.
var (
	// ErrUnauthenticated: no credential, or none that is known. Which of both is not said.
	ErrUnauthenticated = errors.New("no valid credential: send `Authorization: Bearer <admin token>`")
	// ErrForbidden: the credential is good, but its role is not enough.
	ErrForbidden = errors.New("the credential's role does not allow this")
)

// ThrottledError is ErrUnauthenticated for an address that failed too often.
type ThrottledError struct{ RetryAfter time.Duration }

// Error tells the wait.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins from this address: wait %d s", seconds(e.RetryAfter))
}

// Unwrap makes it an ErrUnauthenticated.
func (*ThrottledError) Unwrap() error { return ErrUnauthenticated }

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
