package rest

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

const hopBuffer = 256 << 10

// hop is the admin gRPC server on an in-memory listener, and the connection to it. Nothing outside this process can reach
// the server, so what REST puts into the metadata can be believed there.
type hop struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	served sync.WaitGroup // the goroutine that serves; close waits for it
}

func newHop(c Config) (*hop, error) {
	listener := bufconn.Listen(hopBuffer)
	limit := int(min(c.maxBody()+1<<20, math.MaxInt32)) // a message is never much larger than the JSON it came from
	options := append([]grpc.ServerOption{grpc.MaxRecvMsgSize(limit), grpc.MaxSendMsgSize(math.MaxInt32), grpc.WaitForHandlers(true)}, c.Options...)
	h := &hop{server: grpc.NewServer(options...)}
	c.Register(h.server)
	conn, err := grpc.NewClient("passthrough:///memory",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(limit)),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, fmt.Errorf("connect to the admin server in memory: %w", err)
	}
	h.conn = conn
	h.served.Go(func() { _ = h.server.Serve(listener) }) // ends with Stop only
	return h, nil
}

func (h *hop) close() {
	h.server.GracefulStop()
	_ = h.conn.Close() // it can only be closed already
	h.served.Wait()
}
