package leaseapi

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// evictWait is how long an evicted node may take to confirm that it holds nothing any more. Then its session ends either way.
const evictWait = 2 * time.Second

// errEvicted answers whatever an evicted node asks for. The node takes it as its end; the reason tells it from a fenced one.
var errEvicted = func() error {
	s := status.New(codes.Aborted, "this node has been evicted")
	if s, err := s.WithDetails(&errdetails.ErrorInfo{Reason: "NODE_EVICTED", Domain: "ollama-api-pool"}); err == nil {
		return s.Err()
	}
	return s.Err()
}()

// errEvictedName answers who wants to join under the name of an evicted node, and knows a token.
func errEvictedName(name string) error {
	return status.Errorf(codes.AlreadyExists, "a node named %q has been evicted: its name cannot be used again, choose another --node-id", name)
}
