package adminapi

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"ollama-api-pool/controlplane/internal/caller"
)

// Options are the interceptors that the server of the services needs. From the outside in: errors and panics become
// statuses, the caller is told, a change is logged, the request is checked against the rules of its proto.
func (a *API) Options() []grpc.ServerOption {
	guard := caller.Guard{Authenticator: a.auth, Policy: policy, Open: a.Open()}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(a.settle, guard.Unary, a.note, checkRules),
		grpc.ChainStreamInterceptor(a.settleStream, guard.Stream),
	}
}

func (a *API) settle(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		err = a.status(ctx, info.FullMethod, err)
	}()
	return next(ctx, req)
}

func (a *API) settleStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		err = a.status(ss.Context(), info.FullMethod, err)
	}()
	return next(srv, ss)
}

// panicked makes an error of a panic. What was panicked with is kept only if it is the runtime's: anything else may hold a
// secret.
func panicked(p any) error {
	if e, ok := p.(runtime.Error); ok {
		return fmt.Errorf("panic: %w\n%s", e, debug.Stack())
	}
	return fmt.Errorf("panic with a %T\n%s", p, debug.Stack())
}

// note logs who changed something, and how it ended.
func (a *API) note(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	if changes(info.FullMethod) {
		admin, _ := caller.Admin(ctx)
		a.config.log().InfoContext(ctx, "admin change", "request_id", caller.Passed(ctx, caller.RequestIDKey),
			"admin", admin.Name, "rpc", info.FullMethod, "code", outcome(err))
	}
	return resp, err
}

func outcome(err error) string {
	if r := refused(err); r != nil {
		return r.code.String()
	}
	return status.FromContextError(err).Code().String()
}

func checkRules(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	m, ok := req.(proto.Message)
	if !ok {
		return nil, errors.New("a request that is no proto message")
	}
	if err := protovalidate.Validate(m); err != nil {
		return nil, err
	}
	return next(ctx, req)
}
