package rest

import (
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	domain       = "ollama-api-pool"
	reasonPrefix = "ERROR_REASON_"
)

// problem is a refusal of this package, before any service was asked.
type problem struct {
	http   int
	code   codes.Code
	reason adminv1.ErrorReason
	field  string // named in the text and in the details; empty: none
	text   string // constant, or made of field names and positions
	allow  []string
}

func (p *problem) status() *status.Status {
	text := p.text
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: strings.TrimPrefix(p.reason.String(), reasonPrefix), Domain: domain,
	}}
	if p.field != "" {
		text = p.field + ": " + p.text
		details = append(details, &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: p.field, Description: p.text}},
		})
	}
	st, err := status.New(p.code, text).WithDetails(details...)
	if err != nil {
		return status.New(p.code, text) // only code OK takes no details
	}
	return st
}

func (p *problem) write(w http.ResponseWriter) {
	if len(p.allow) > 0 {
		w.Header().Set("Allow", strings.Join(p.allow, ", "))
	}
	writeStatus(w, p.http, p.status())
}

func invalid(field, text string) *problem {
	return &problem{
		http: http.StatusBadRequest, code: codes.InvalidArgument, reason: adminv1.ErrorReason_ERROR_REASON_INVALID_ARGUMENT,
		field: field, text: text,
	}
}

func malformed(text string) *problem {
	return &problem{
		http: http.StatusBadRequest, code: codes.InvalidArgument, reason: adminv1.ErrorReason_ERROR_REASON_MALFORMED_BODY,
		text: text,
	}
}

func unsupported(text string) *problem {
	return &problem{
		http: http.StatusUnsupportedMediaType, code: codes.InvalidArgument,
		reason: adminv1.ErrorReason_ERROR_REASON_MALFORMED_BODY, text: text,
	}
}

func tooLarge(limit int64) *problem {
	return &problem{
		http: http.StatusRequestEntityTooLarge, code: codes.ResourceExhausted,
		reason: adminv1.ErrorReason_ERROR_REASON_BODY_TOO_LARGE,
		text:   fmt.Sprintf("the body is larger than %d bytes: send less, or in parts", limit),
	}
}

func forbidden(text string) *problem {
	return &problem{
		http: http.StatusForbidden, code: codes.PermissionDenied,
		reason: adminv1.ErrorReason_ERROR_REASON_PERMISSION_DENIED, text: text,
	}
}

func noEndpoint() *problem {
	return &problem{
		http: http.StatusNotFound, code: codes.NotFound, reason: adminv1.ErrorReason_ERROR_REASON_NO_SUCH_ENDPOINT,
		text: "there is no such endpoint: see /openapi.json",
	}
}

func wrongMethod(allow ...string) *problem {
	return &problem{
		http: http.StatusMethodNotAllowed, code: codes.Unimplemented,
		reason: adminv1.ErrorReason_ERROR_REASON_METHOD_NOT_ALLOWED,
		text:   "this endpoint has no such method: `Allow` lists the ones it has", allow: allow,
	}
}

func internal(requestID string) *problem {
	return &problem{
		http: http.StatusInternalServerError, code: codes.Internal, reason: adminv1.ErrorReason_ERROR_REASON_INTERNAL,
		text: "a fault of the control plane: its log has it under request id " + requestID,
	}
}

func stopping() *problem {
	return &problem{
		http: http.StatusServiceUnavailable, code: codes.Unavailable, reason: adminv1.ErrorReason_ERROR_REASON_STOPPING,
		text: "the control plane is stopping: try again in a moment",
	}
}
