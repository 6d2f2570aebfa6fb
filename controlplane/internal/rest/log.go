package rest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"
)

// exchange is one request on its way. The handlers within fill it; the outermost one logs it.
type exchange struct {
	call
	route string // the pattern, never the path: a secret that was put into a URL by mistake stays out of the log
	probe bool   // of an open page: machines ask for those all day
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// logged gives each request an id, survives panics, and writes the one log line.
func logged(c Config, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		x := &exchange{call: call{id: rand.Text()[:16], remote: remoteOf(r, c.TrustedProxies)}}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		out := &recorder{ResponseWriter: w}
		out.Header().Set("X-Request-Id", x.id)
		if len(r.TransferEncoding) > 0 { // there may have been a length besides, by which one in front saw another end
			out.Header().Set("Connection", "close")
		}
		defer func() {
			survive(c.log(), x, out, recover())
			c.log().LogAttrs(r.Context(), x.level(out.status), "admin request",
				slog.String("request_id", x.id), slog.String("method", method(r)), slog.String("route", x.route),
				slog.Int("status", out.status), slog.String("remote", x.remote.String()),
				slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000))
		}()
		next.ServeHTTP(out, r)
	})
}

func (x *exchange) level(status int) slog.Level {
	if x.probe && status < http.StatusBadRequest {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// survive turns a panic into a 500. What was panicked with is logged only if it is the runtime's: anything else may hold
// a secret.
func survive(log *slog.Logger, x *exchange, w *recorder, panicked any) {
	if panicked == nil {
		return
	}
	if panicked == http.ErrAbortHandler { //nolint:errorlint // it is that very value
		panic(panicked)
	}
	what := fmt.Sprintf("%T", panicked)
	if err, ok := panicked.(runtime.Error); ok {
		what = err.Error()
	}
	log.Error("admin request panicked", "request_id", x.id, "route", x.route, "panic", what, "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler) // an answer has begun: only breaking it off shows that it is not whole
	}
	internal(x.id).write(w)
}

// method answers the method if it is a known one: any text may come here.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return r.Method
	default:
		return "other"
	}
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int // 0: no answer has begun
}

// WriteHeader begins the answer.
func (w *recorder) WriteHeader(code int) {
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write begins the answer, if need be.
func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController see the real writer.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
