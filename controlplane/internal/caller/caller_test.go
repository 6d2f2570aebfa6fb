package caller_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"ollama-api-pool/controlplane/internal/caller"
)

const canary = "canary-admin-token-0123456789abcdef"

var errLookup = errors.New("the database is closed")

// authenticator knows one token per role, named after it.
func authenticator(clock *time.Time) *caller.Authenticator {
	known := map[[32]byte]caller.Credential{}
	for _, name := range []string{"viewer", "operator", "admin"} {
		hash := sha256.Sum256([]byte(canary + name))
		known[hash] = caller.Credential{Name: "the " + name, Hash: hash, Role: caller.ParseRole(name)}
	}
	broken := sha256.Sum256([]byte("broken"))
	return caller.NewAuthenticator(caller.Config{
		Now: func() time.Time { return *clock },
		Lookup: func(hash [32]byte) (caller.Credential, bool, error) {
			if hash == broken {
				return caller.Credential{}, false, errLookup
			}
			c, ok := known[hash]
			return c, ok, nil
		},
	})
}

func TestAuthenticate(t *testing.T) {
	clock := time.Now()
	for _, row := range []struct {
		header string
		want   error
		name   string
	}{
		{header: "Bearer " + canary + "admin", name: "the admin"},
		{header: "bearer " + canary + "viewer", name: "the viewer"},
		{header: "", want: caller.ErrUnauthenticated},
		{header: "Bearer", want: caller.ErrUnauthenticated},
		{header: "Bearer ", want: caller.ErrUnauthenticated},
		{header: canary + "admin", want: caller.ErrUnauthenticated},
		{header: "Basic " + canary + "admin", want: caller.ErrUnauthenticated},
		{header: "Bearer  " + canary + "admin", want: caller.ErrUnauthenticated},
		{header: "Bearer " + canary, want: caller.ErrUnauthenticated},
		{header: "Bearer broken", want: errLookup},
	} {
		got, err := authenticator(&clock).Authenticate(row.header, netip.Addr{})
		if !errors.Is(err, row.want) || got.Name != row.name {
			t.Errorf("%q: got %v, %v; want %q, %v", row.header, got, err, row.name, row.want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%q: the error quotes the token", row.header)
		}
	}
}

func TestLookupMayAnswerTheWrongCredential(t *testing.T) {
	a := caller.NewAuthenticator(caller.Config{Lookup: func([32]byte) (caller.Credential, bool, error) {
		return caller.Credential{Name: "other", Role: caller.RoleAdmin}, true, nil
	}})
	if _, err := a.Authenticate("Bearer x", netip.Addr{}); !errors.Is(err, caller.ErrUnauthenticated) {
		t.Errorf("got %v, want a refusal: the digests differ", err)
	}
}

// Failures are slowed per address; a valid token never is, not even behind a slowed address.
func TestFailuresAreSlowed(t *testing.T) {
	clock := time.Now()
	a := authenticator(&clock)
	fail := func(addr string) error {
		_, err := a.Authenticate("Bearer wrong", netip.MustParseAddr(addr))
		return err
	}
	throttled := func(err error) bool {
		_, ok := errors.AsType[*caller.ThrottledError](err)
		return ok
	}
	for i := range 10 {
		if err := fail("192.0.2.1"); throttled(err) {
			t.Fatalf("failure %d is slowed", i)
		}
	}
	err := fail("192.0.2.1")
	if e, ok := errors.AsType[*caller.ThrottledError](err); !ok || e.RetryAfter > 6*time.Second {
		t.Fatalf("failure 11: got %v, want at most 6 s", err)
	}
	if !throttled(fail("::ffff:192.0.2.1")) {
		t.Error("the same address written as v6 is not slowed")
	}
	if throttled(fail("192.0.2.2")) {
		t.Error("another address is slowed")
	}
	if _, err := a.Authenticate("Bearer "+canary+"viewer", netip.MustParseAddr("192.0.2.1")); err != nil {
		t.Errorf("a valid token behind the address: %v", err)
	}
	clock = clock.Add(6 * time.Second)
	if throttled(fail("192.0.2.1")) {
		t.Error("still slowed after the wait")
	}
	if !throttled(fail("192.0.2.1")) {
		t.Error("more than ten a minute")
	}
	for i := range 10 {
		_ = fail(fmt.Sprintf("2001:db8::%x", i))
	}
	if !throttled(fail("2001:db8::ffff")) || throttled(fail("2001:db8:0:1::1")) {
		t.Error("v6 is not counted by /64")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	clock := time.Now()
	a := authenticator(&clock)
	slowed := 0
	for i := range 10_000 {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		if _, err := a.Authenticate("", addr); !errors.Is(err, caller.ErrUnauthenticated) {
			t.Fatal(err)
		} else if _, ok := errors.AsType[*caller.ThrottledError](err); ok {
			slowed++
		}
	}
	if slowed < 5000 {
		t.Errorf("%d of the addresses beyond the bound share one count", slowed)
	}
	clock = clock.Add(time.Hour)
	if _, err := a.Authenticate("", netip.MustParseAddr("192.0.2.9")); err == nil {
		t.Error("no refusal")
	} else if _, ok := errors.AsType[*caller.ThrottledError](err); ok {
		t.Error("old failures are never forgotten")
	}
}

func TestGuard(t *testing.T) {
	clock := time.Now()
	g := caller.Guard{Authenticator: authenticator(&clock), Policy: caller.Policy{
		"/s/Read": caller.RoleViewer, "/s/Change": caller.RoleOperator, "/s/Own": caller.RoleAdmin, "/s/Nobody": 0,
	}}
	for _, row := range []struct {
		method, token string
		want          error
	}{
		{"/s/Read", "viewer", nil},
		{"/s/Read", "operator", nil},
		{"/s/Read", "admin", nil},
		{"/s/Change", "viewer", caller.ErrForbidden},
		{"/s/Change", "operator", nil},
		{"/s/Change", "admin", nil},
		{"/s/Own", "operator", caller.ErrForbidden},
		{"/s/Own", "admin", nil},
		{"/s/Nobody", "admin", caller.ErrForbidden},
		{"/s/Unlisted", "admin", caller.ErrForbidden},
		{"/s/Read", "nobody", caller.ErrUnauthenticated},
	} {
		md := metadata.Pairs("authorization", "Bearer "+canary+row.token, caller.RemoteKey, "192.0.2.7")
		ctx := metadata.NewIncomingContext(t.Context(), md)
		_, err := g.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: row.method}, func(ctx context.Context, _ any) (any, error) {
			if c, ok := caller.Admin(ctx); !ok || c.Name != "the "+row.token {
				t.Errorf("%s as %s: caller is %v", row.method, row.token, c)
			}
			return nil, nil
		})
		if !errors.Is(err, row.want) {
			t.Errorf("%s as %s: got %v, want %v", row.method, row.token, err, row.want)
		}
		err = g.Stream(nil, stream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: row.method}, func(_ any, ss grpc.ServerStream) error {
			if _, ok := caller.Admin(ss.Context()); !ok {
				t.Errorf("%s: the stream has no caller", row.method)
			}
			return nil
		})
		if !errors.Is(err, row.want) {
			t.Errorf("stream %s as %s: got %v, want %v", row.method, row.token, err, row.want)
		}
	}
}

func TestTwoAuthorizationsAreNone(t *testing.T) {
	clock := time.Now()
	g := caller.Guard{Authenticator: authenticator(&clock), Policy: caller.Policy{"/s/Read": caller.RoleViewer}}
	md := metadata.Pairs("authorization", "Bearer "+canary+"admin", "authorization", "Bearer "+canary+"admin")
	_, err := g.Unary(metadata.NewIncomingContext(t.Context(), md), nil, &grpc.UnaryServerInfo{FullMethod: "/s/Read"}, nil)
	if !errors.Is(err, caller.ErrUnauthenticated) {
		t.Errorf("got %v", err)
	}
}

func TestNodeIsNoAdmin(t *testing.T) {
	ctx := caller.With(t.Context(), caller.Caller{Kind: caller.KindNode, Name: "eu-west-1", Role: caller.RoleAdmin})
	if _, ok := caller.Admin(ctx); ok {
		t.Error("a node is taken for an admin")
	}
	if c, ok := caller.Admin(caller.WithAdmin(t.Context(), "root", caller.RoleAdmin)); !ok || c.Role.String() != "admin" {
		t.Errorf("got %v", c)
	}
}

type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }
