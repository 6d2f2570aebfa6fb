package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

const jsonType = "application/json"

// marshaler writes zero numbers, false and empty lists, so that scripts can rely on the fields; what is absent (a time, a
// rate of nothing) is left out. Its output is the same in every build, unlike protojson's.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}
}

// Marshal writes one line.
func (m *marshaler) Marshal(v any) ([]byte, error) {
	data, err := m.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// fail is the gateway's error handler. An error of our services is shown as it is; what the gateway or the gRPC library say
// may quote what a caller sent, and is replaced.
func (a *api) fail(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	st := status.Convert(err)
	if ours(st) {
		writeStatus(w, runtime.HTTPStatusFromCode(st.Code()), st)
		return
	}
	x := exchangeOf(ctx)
	switch st.Code() { //nolint:exhaustive // everything else is a fault of ours
	case codes.InvalidArgument:
		malformed("the request does not have the documented shape").write(w)
	case codes.ResourceExhausted:
		tooLarge(a.config.maxBody()).write(w)
	case codes.Canceled, codes.DeadlineExceeded:
		w.WriteHeader(statusClientClosed) // nobody reads it; it is for the log
	case codes.Unavailable:
		stopping().write(w)
	default:
		a.config.log().ErrorContext(ctx, "admin call failed", "request_id", x.id, "code", st.Code().String())
		internal(x.id).write(w)
	}
}

const statusClientClosed = 499

func ours(st *status.Status) bool {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return true
		}
	}
	return false
}

// writeStatus writes an error as google.rpc.Status.
func writeStatus(w http.ResponseWriter, code int, st *status.Status) {
	body, err := newMarshaler().Marshal(st.Proto())
	if err != nil {
		body, _ = newMarshaler().Marshal(status.New(st.Code(), st.Message()).Proto()) // without a detail that has no JSON
	}
	h := w.Header()
	h.Set("Content-Type", jsonType)
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="ollama-api-pool admin"`)
	}
	for _, d := range st.Details() {
		if retry, ok := d.(*errdetails.RetryInfo); ok {
			h.Set("Retry-After", strconv.Itoa(int(retry.GetRetryDelay().AsDuration().Seconds()+0.999)))
		}
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) //nolint:gosec // JSON with nosniff; an error means that nobody is left to tell
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain structs can always be written
	}
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}
