// Package rest is the door for operators: the admin services over HTTP and JSON, and the few open pages beside them.
//
// A request passes, from the outside in: panic and log line (log.go), the guards that need no login (guard.go), the open
// pages (open.go), login and routing (api.go), a strict check of query and body against the proto of the route (route.go,
// query.go, body.go, json.go), and the generated gateway, which calls the services through an in-memory listener (hop.go). So REST has no rules of its own about
// who may do what: the interceptors of the gRPC server decide.
//
// No text of an error answer holds anything that a caller sent, except names of known shape; a fault of ours is told by
// the request's id only.
package rest

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"google.golang.org/grpc"
)

// Config of a Server. Register is needed; the zero value of everything else works.
type Config struct {
	// Register adds the admin services to the in-memory gRPC server.
	Register func(grpc.ServiceRegistrar)
	// Options of that server, above all its interceptors. Message limits are set by New.
	Options []grpc.ServerOption
	// Admit checks the Authorization header before anything else of a request is looked at. Its error is a gRPC status.
	// Without it, only the interceptors check.
	Admit func(ctx context.Context, authorization string, from netip.Addr) error

	// Open are the methods, by their full names, that need no login. The interceptors must let them through too.
	Open []string

	// Health answers what /health says. It must be cheap: anyone may ask.
	Health func() Health
	// Ready answers why the control plane cannot do its work now; nil: it can.
	Ready func() error
	// Metrics serves /metrics.
	Metrics http.Handler

	// AllowedHosts are the names under which the server is reached, besides loopback names and plain addresses.
	AllowedHosts []string
	// TrustedProxies may tell the client's address in X-Forwarded-For.
	TrustedProxies []netip.Prefix
	// MaxBody is the largest body; default 32 MiB.
	MaxBody int64
	// Version is told by /health.
	Version string
	// Log gets one line per request; default: none.
	Log *slog.Logger
}

const defaultMaxBody = 32 << 20

func (c Config) maxBody() int64 {
	if c.MaxBody > 0 {
		return c.MaxBody
	}
	return defaultMaxBody
}

func (c Config) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (c Config) health() Health {
	if c.Health != nil {
		return c.Health()
	}
	return Health{Status: "ok"}
}

func (c Config) ready() error {
	if c.Ready != nil {
		return c.Ready()
	}
	return nil
}

// Server is the handler for the admin listener. Close it after the listener is drained.
type Server struct {
	handler http.Handler
	hop     *hop
}

// New starts the in-memory hop and answers the handler. ctx is for the start only.
func New(ctx context.Context, c Config) (*Server, error) {
	hop, err := newHop(c)
	if err != nil {
		return nil, err
	}
	api, err := newAPI(ctx, c, hop.conn)
	if err != nil {
		hop.close()
		return nil, err
	}
	return &Server{handler: logged(c, guarded(c, newPages(c, api))), hop: hop}, nil
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends the hop and waits for the calls that are under way.
func (s *Server) Close() { s.hop.close() }
