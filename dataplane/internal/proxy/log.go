package proxy

import (
	"context"
	"log/slog"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
)

// logLine writes the one line that each request leaves. It holds no credential and nothing of what was said.
func (x *exchange) logLine() {
	level := slog.LevelInfo
	if x.end == leases.EndOK && !x.panicked {
		level = slog.LevelDebug
	}
	ctx := context.Background() // the client may be gone
	if !x.p.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", x.id),
		slog.String("provider", x.providerID()),
		slog.String("model", forLog(x.model)),
		slog.Int("status", x.status),
		slog.String("outcome", x.outcome().String()),
		slog.Int("attempts", x.attempts),
	}
	if x.attempts > 0 {
		attrs = append(attrs, slog.String("key_id", x.lastKey.String()))
	}
	attrs = append(attrs, slog.Float64("duration_ms", float64(x.p.now().Sub(x.start))/float64(time.Millisecond)))
	x.p.log.LogAttrs(ctx, level, "request served", attrs...)
}
