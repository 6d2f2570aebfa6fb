package adminapi

import (
	"strconv"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
)

// violated tells the first rule that was broken. The rule's own text tells the rule, never the value.
func violated(v *protovalidate.ValidationError) *refusal {
	if len(v.Violations) == 0 {
		return invalid("", "the request breaks a rule")
	}
	first := v.Violations[0].Proto
	return invalid(fieldName(first.GetField()), first.GetMessage())
}

// bodies are the messages that are a request's body themselves.
var bodies = map[string]bool{"api_key": true, "provider": true, "client_token": true}

// fieldName writes a path as REST callers know it: in lowerCamelCase, without the message that is the body itself, and
// without the key of a map, which is a caller's text.
func fieldName(path *validate.FieldPath) string {
	var b strings.Builder
	for i, e := range path.GetElements() {
		if i == 0 && len(path.GetElements()) > 1 && bodies[e.GetFieldName()] {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(lowerCamel(e.GetFieldName()))
		if index, ok := e.GetSubscript().(*validate.FieldPathElement_Index); ok {
			b.WriteString("[" + strconv.FormatUint(index.Index, 10) + "]")
		}
	}
	return b.String()
}

// lowerCamel writes the name of a proto field as JSON has it. A mask over gRPC may hold any text, so what is no name
// becomes nothing.
func lowerCamel(name string) string {
	var b strings.Builder
	upper := false
	for _, c := range []byte(name) {
		switch {
		case c == '_':
			upper = true
			continue
		case c == '.':
		case 'a' <= c && c <= 'z':
			if upper {
				c -= 'a' - 'A'
			}
		default:
			return ""
		}
		upper = false
		b.WriteByte(c)
	}
	return b.String()
}
