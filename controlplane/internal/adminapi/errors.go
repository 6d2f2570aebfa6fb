package adminapi

import (
	"context"
	"errors"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/caller"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	domain       = "ollama-api-pool"
	reasonPrefix = "ERROR_REASON_"
)

// refusal is an error of this package: what a caller can do something about. Its text is constant, or made of names of our
// own; it never holds what a caller sent.
type refusal struct {
	code    codes.Code
	reason  adminv1.ErrorReason
	field   string        // in lowerCamelCase; empty: none is to blame
	text    string        // without the field
	current proto.Message // what is there now, for conflicts
	retry   time.Duration // zero: trying again does not help
}

// Error answers the public text.
func (r *refusal) Error() string {
	if r.field == "" {
		return r.text
	}
	return r.field + ": " + r.text
}

func invalid(field, text string) *refusal {
	return &refusal{code: codes.InvalidArgument, reason: adminv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT, field: field, text: text}
}

func noKey(field string) *refusal {
	return &refusal{
		code: codes.NotFound, reason: adminv1.ErrorReason_ERROR_REASON_KEY_NOT_FOUND, field: field, text: "there is no such key",
	}
}

func noToken() *refusal {
	return &refusal{code: codes.NotFound, reason: adminv1.ErrorReason_ERROR_REASON_TOKEN_NOT_FOUND, text: "there is no such token"}
}

func noProvider(field string) *refusal {
	return &refusal{
		code: codes.NotFound, reason: adminv1.ErrorReason_ERROR_REASON_PROVIDER_NOT_FOUND, field: field,
		text: "there is no such provider: add it first",
	}
}

func noNode() *refusal {
	return &refusal{code: codes.NotFound, reason: adminv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, text: "there is no such node"}
}

func evictedNode() *refusal {
	return &refusal{
		code: codes.FailedPrecondition, reason: adminv1.ErrorReason_ERROR_REASON_NODE_EVICTED,
		text: "the node was evicted, which cannot be undone: let its machine join under another name",
	}
}

func conflict(reason adminv1.ErrorReason, text string, current proto.Message) *refusal {
	return &refusal{code: codes.Aborted, reason: reason, text: text, current: current}
}

func changedSince(current proto.Message) *refusal {
	return conflict(adminv1.ErrorReason_ERROR_REASON_REVISION_CONFLICT, "revision: somebody changed it since: read it again", current)
}

// status is the one place that turns errors into what callers see. The cause of what it calls an internal fault is logged
// here and shown to nobody.
func (a *API) status(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	r := refused(err)
	if r == nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return status.FromContextError(err).Err()
		}
		id := caller.Passed(ctx, caller.RequestIDKey)
		a.config.log().ErrorContext(ctx, "admin call failed", "request_id", id, "rpc", method, "cause", err)
		r = internal(id)
	}
	return r.status()
}

func internal(requestID string) *refusal {
	return &refusal{
		code: codes.Internal, reason: adminv1.ErrorReason_ERROR_REASON_INTERNAL,
		text: "a fault of the control plane: its log has it under request id " + requestID,
	}
}

// refused answers the refusal that the error stands for; nil: it is a fault of ours.
func refused(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if v, ok := errors.AsType[*protovalidate.ValidationError](err); ok {
		return violated(v)
	}
	unauthenticated := refusal{
		code: codes.Unauthenticated, reason: adminv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED,
		text: caller.ErrUnauthenticated.Error(),
	}
	if t, ok := errors.AsType[*caller.ThrottledError](err); ok {
		unauthenticated.code, unauthenticated.text, unauthenticated.retry = codes.ResourceExhausted, t.Error(), t.RetryAfter
	}
	switch {
	case errors.Is(err, caller.ErrUnauthenticated):
		return &unauthenticated
	case errors.Is(err, caller.ErrForbidden):
		return &refusal{
			code: codes.PermissionDenied, reason: adminv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED,
			text: caller.ErrForbidden.Error(),
		}
	case errors.Is(err, store.ErrNoSpace):
		return unavailable(adminv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE, "the disk is full: nothing was changed", 30*time.Second)
	case errors.Is(err, store.ErrFailed):
		return unavailable(adminv1.ErrorReason_ERROR_REASON_STORE_UNAVAILABLE,
			"the disk failed: look whether the change was made once the control plane has restarted", 10*time.Second)
	case errors.Is(err, store.ErrClosed):
		return unavailable(adminv1.ErrorReason_ERROR_REASON_STOPPING, "the control plane is stopping: try again in a moment", 5*time.Second)
	default:
		return nil
	}
}

func unavailable(reason adminv1.ErrorReason, text string, retry time.Duration) *refusal {
	return &refusal{code: codes.Unavailable, reason: reason, text: text, retry: retry}
}

func (r *refusal) status() error {
	details := []protoadapt.MessageV1{
		&errdetails.ErrorInfo{Reason: strings.TrimPrefix(r.reason.String(), reasonPrefix), Domain: domain},
	}
	if r.field != "" && r.code == codes.InvalidArgument {
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: r.field, Description: r.text}},
		})
	}
	if r.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)})
	}
	if r.current != nil {
		details = append(details, protoadapt.MessageV1Of(r.current))
	}
	st := status.New(r.code, r.Error())
	if full, err := st.WithDetails(details...); err == nil { // it fails for code OK only
		st = full
	}
	return st.Err()
}
