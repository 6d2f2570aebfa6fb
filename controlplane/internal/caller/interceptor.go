package caller

import (
	"context"
	"net/netip"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// Guard lets admins call what the policy allows them.
type Guard struct {
	Authenticator *Authenticator
	Policy        Policy
	// Open are the methods, by their full names, that anyone may call. Their context holds no caller.
	Open []string
}

// Unary is the guard of unary calls.
func (g Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

// Stream is the guard of streams.
func (g Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(srv, admitted{ss, ctx})
}

func (g Guard) admit(ctx context.Context, method string) (context.Context, error) {
	if slices.Contains(g.Open, method) {
		return ctx, nil
	}
	c, err := g.Authenticator.Authenticate(Passed(ctx, "authorization"), remote(ctx)) // two of them are none
	if err != nil {
		return nil, err
	}
	if !g.Policy.Allows(method, c.Role) {
		return nil, ErrForbidden
	}
	return With(ctx, c), nil
}

func remote(ctx context.Context) netip.Addr {
	if addr, err := netip.ParseAddr(Passed(ctx, RemoteKey)); err == nil {
		return addr
	}
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil {
		return netip.Addr{}
	}
	at, _ := netip.ParseAddrPort(p.Addr.String()) // an in-memory peer has none: the zero Addr
	return at.Addr()
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (s admitted) Context() context.Context { return s.ctx }
