// Package leaseapi serves LeaseService to data planes: wire ↔ pool. It knows who calls from the certificate alone, admits
// nodes by join token, keeps one session per node, and hands outcome reports to the statistics.
//
// If it dies, nodes go on under lease and grace and come back by themselves; whatever they had not been acknowledged they
// send again. If a node dies, its session ends with its connection and its lease runs out here.
package leaseapi

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"ollama-api-pool/controlplane/internal/ca"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	"ollama-api-pool/controlplane/internal/store"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// Config makes an API. All fields but the times are required.
type Config struct {
	Pool   *pool.Pool
	Store  *store.Store
	Stats  *stats.Collector
	CA     *ca.CA
	Logger *slog.Logger
	Now    func() time.Time
	// ReusableJoinToken lets any number of nodes in, for unattended fleets; zero: none does.
	ReusableJoinToken pool.Secret

	LeaseTTL          time.Duration // default 60 s
	Grace             time.Duration // default 4 h; negative: none
	HeartbeatInterval time.Duration // default a sixth of the lease
	ReportInterval    time.Duration // default 1 s
	ReconnectSpread   time.Duration // default 1 s
}

func (c Config) leaseTTL() time.Duration  { return orDefault(c.LeaseTTL, time.Minute) }
func (c Config) grace() time.Duration     { return max(orDefault(c.Grace, 4*time.Hour), 0) }
func (c Config) heartbeat() time.Duration { return orDefault(c.HeartbeatInterval, c.leaseTTL()/6) }
func (c Config) report() time.Duration    { return orDefault(c.ReportInterval, time.Second) }
func (c Config) spread() time.Duration    { return orDefault(c.ReconnectSpread, time.Second) }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// outcomeWindow is how many unacknowledged batches a node may have under way.
const outcomeWindow = 4

// API implements LeaseService.
type API struct {
	leasev1.UnimplementedLeaseServiceServer
	cfg      Config
	drain    drain
	restored sync.Mutex // held while a change of lineage is decided
}

// New makes an API.
func New(c Config) *API { return &API{cfg: c, drain: newDrain()} }

// Server makes the gRPC server that nodes talk to: TLS 1.3; without a certificate only Join is callable.
func (a *API) Server() (*grpc.Server, error) {
	cert, err := a.cfg.CA.ServerCertificate(a.cfg.Now())
	if err != nil {
		return nil, err
	}
	channel := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.VerifyClientCertIfGiven,
		ClientCAs:    a.cfg.CA.Pool(),
		Time:         a.cfg.Now,
	}
	s := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(channel)),
		grpc.MaxRecvMsgSize(4<<20),
		grpc.MaxConcurrentStreams(64),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
		grpc.UnaryInterceptor(a.authorizeUnary),
		grpc.StreamInterceptor(a.authorizeStream),
	)
	leasev1.RegisterLeaseServiceServer(s, a)
	return s, nil
}

type callerKey struct{}

// authorizeUnary lets only Join through without a node's certificate.
func (a *API) authorizeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if info.FullMethod == leasev1.LeaseService_Join_FullMethodName {
		return next(ctx, req)
	}
	name, err := a.nodeOf(ctx)
	if err != nil {
		return nil, err
	}
	return next(context.WithValue(ctx, callerKey{}, name), req)
}

// authorizeStream lets no stream through without a node's certificate.
func (a *API) authorizeStream(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	name, err := a.nodeOf(s.Context())
	if err != nil {
		return err
	}
	return next(srv, &namedStream{ServerStream: s, ctx: context.WithValue(s.Context(), callerKey{}, name)})
}

type namedStream struct {
	grpc.ServerStream
	ctx context.Context // how gRPC hands a context to a stream's handler
}

func (s *namedStream) Context() context.Context { return s.ctx }

// caller answers who an authorised call comes from.
func caller(ctx context.Context) ca.Name {
	name, _ := ctx.Value(callerKey{}).(ca.Name)
	return name
}

// nodeOf answers which node the connection's certificate names, if the store knows it with this region and certificate life.
func (a *API) nodeOf(ctx context.Context) (ca.Name, error) {
	denied := status.Error(codes.Unauthenticated, "a node's certificate is needed; without one only Join can be called")
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return ca.Name{}, denied
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return ca.Name{}, denied
	}
	name, err := a.cfg.CA.NameOf(info.State.VerifiedChains[0][0])
	if err != nil {
		return ca.Name{}, denied
	}
	var record pool.NodeRecord
	err = a.cfg.Store.View(func(tx *store.Tx) error {
		record, err = tx.Node(pool.NodeID(name.Node))
		return err
	})
	switch {
	case err != nil || record.Region != name.Region:
		return ca.Name{}, status.Error(codes.PermissionDenied, "this node is not a member of the cluster any more")
	case !record.EvictTime.IsZero():
		return ca.Name{}, errEvicted
	}
	return name, nil
}
