package rest

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// checkBody reads the body, checks it against the route's message, and puts it back for the gateway.
func checkBody(r *http.Request, sent http.Header, to *route, params []string, limit int64) *problem {
	if to.body == nil {
		r.Body = http.NoBody
		return nil
	}
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	data, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(limit)
	}
	if err != nil {
		return malformed("the body could not be read to its end")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	} else if p := checkMediaType(sent); p != nil {
		return p
	}
	if f := checkJSON(data, to.body); f != nil {
		return malformed(f.String())
	}
	if p := checkID(data, to.body, params); p != nil {
		return p
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return nil
}

// checkMediaType wants JSON, or nothing said. A form is refused: it is what a web page of somebody else can send without
// being asked, and what curl sends by default, so the answer tells how to do it right.
func checkMediaType(h http.Header) *problem {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return unsupported("send the body without Content-Encoding")
	}
	sent := h.Get("Content-Type")
	if sent == "" {
		return nil
	}
	media, parameters, err := mime.ParseMediaType(sent)
	if err == nil && media == "application/json" && (parameters["charset"] == "" || strings.EqualFold(parameters["charset"], "utf-8")) {
		return nil
	}
	return unsupported("send JSON in UTF-8 and the header `Content-Type: application/json` (with curl: --json, or -H)")
}

// checkID refuses a body whose id is not the one of the path, which the gateway would silently replace.
func checkID(data []byte, body protoreflect.MessageDescriptor, params []string) *problem {
	field := body.Fields().ByName("id")
	if field == nil || len(params) == 0 {
		return nil
	}
	id, given := stringField(data, "id")
	if given && id != params[0] {
		return invalid("id", "differs from the id in the path")
	}
	return nil
}
