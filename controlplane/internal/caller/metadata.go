package caller

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// The metadata in which the REST side passes on what a request says beside its message. Only the REST side can reach the
// admin server, and it lets no HTTP header become metadata, so nobody else can set them.
const (
	RemoteKey    = "x-apipool-remote"     // the client's address
	RequestIDKey = "x-apipool-request-id" // under which the log has the request
	ProviderKey  = "x-apipool-provider"   // the query's provider
	WaitKey      = "x-apipool-wait"       // the query's wait, in seconds
)

// Passed answers what was passed on under the key; empty: nothing.
func Passed(ctx context.Context, key string) string {
	if v := metadata.ValueFromIncomingContext(ctx, key); len(v) == 1 {
		return v[0]
	}
	return ""
}
