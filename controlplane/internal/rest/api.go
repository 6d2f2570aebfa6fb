package rest

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"ollama-api-pool/controlplane/internal/caller"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// api serves everything below /admin/.
type api struct {
	config  Config
	routes  []route
	gateway *runtime.ServeMux
}

func newAPI(ctx context.Context, c Config, conn *grpc.ClientConn) (*api, error) {
	routes, err := readRoutes()
	if err != nil {
		return nil, fmt.Errorf("read the routes: %w", err)
	}
	a := &api{config: c, routes: routes}
	a.gateway = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithErrorHandler(a.fail),
		runtime.WithIncomingHeaderMatcher(nothing),
		runtime.WithOutgoingHeaderMatcher(nothing),
		runtime.WithOutgoingTrailerMatcher(nothing),
		runtime.WithMetadata(annotate),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	for _, register := range []func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error{
		adminv1.RegisterKeyServiceHandler, adminv1.RegisterTokenServiceHandler, adminv1.RegisterProviderServiceHandler,
		adminv1.RegisterNodeServiceHandler, adminv1.RegisterStatsServiceHandler, adminv1.RegisterJobServiceHandler,
		adminv1.RegisterCacheServiceHandler,
	} {
		if err := register(ctx, a.gateway, conn); err != nil {
			return nil, fmt.Errorf("register with the gateway: %w", err)
		}
	}
	return a, nil
}

func nothing(string) (string, bool) { return "", false }

// annotate makes the metadata of a call. The gateway itself adds authorization.
func annotate(ctx context.Context, _ *http.Request) metadata.MD {
	x := exchangeOf(ctx)
	md := metadata.Pairs(caller.RequestIDKey, x.id, caller.RemoteKey, x.remote.String())
	if x.provider != "" {
		md.Set(caller.ProviderKey, x.provider)
	}
	if x.wait != "" {
		md.Set(caller.WaitKey, x.wait)
	}
	return md
}

// ServeHTTP lets a request through to the gateway only if it has a credential, a route, and the shape that the route wants.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, params, methods := find(a.routes, r.Method, r.URL.Path)
	open := to != nil && slices.Contains(a.config.Open, to.rpc)
	if !open && !a.admit(w, r) {
		return
	}
	if len(methods) == 0 {
		noEndpoint().write(w)
		return
	}
	if to == nil {
		wrongMethod(methods...).write(w)
		return
	}
	x := exchangeOf(r.Context())
	x.route = to.pattern
	in := r.Clone(r.Context())
	in.Header = http.Header{"Authorization": r.Header["Authorization"], "Content-Type": {jsonType}}
	if open { // whatever was sent is not looked at
		in.Header.Del("Authorization")
	}
	if p := checkQuery(in, to, &x.call); p != nil {
		p.write(w)
		return
	}
	in.Body = r.Body
	if p := checkBody(in, r.Header, to, params, a.config.maxBody()); p != nil {
		p.write(w)
		return
	}
	a.gateway.ServeHTTP(w, in)
}

func (a *api) admit(w http.ResponseWriter, r *http.Request) bool {
	if len(r.Header["Authorization"]) > 1 {
		invalid("", "the header Authorization is there more than once").write(w)
		return false
	}
	if a.config.Admit == nil {
		return true
	}
	err := a.config.Admit(r.Context(), r.Header.Get("Authorization"), exchangeOf(r.Context()).remote)
	if err == nil {
		return true
	}
	st := status.Convert(err)
	writeStatus(w, runtime.HTTPStatusFromCode(st.Code()), st)
	return false
}

var readMethods = []string{http.MethodGet, http.MethodHead}

func reads(r *http.Request) bool { return slices.Contains(readMethods, r.Method) }
