package rest

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// call is what a request says beside its message. It travels to the services as metadata.
type call struct {
	provider string     // of the query
	wait     string     // of the query, in seconds
	id       string     // of the request
	remote   netip.Addr // of the client
}

// The parameters that are no fields of the message: the gateway would drop them wherever there is a body.
const (
	providerParam = "provider"
	waitParam     = "wait"
)

// checkQuery refuses what the route does not know, notes the parameters that travel as metadata, and leaves in the request
// those that the gateway is to read.
func checkQuery(r *http.Request, to *route, c *call) *problem {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalid("", "the query is not well formed")
	}
	seen := map[protoreflect.FieldNumber]bool{}
	for name, values := range given {
		field := to.query[name]
		switch {
		case field == nil && name != providerParam && (name != waitParam || r.Method == http.MethodGet):
			return invalid(nameable(name), "unknown parameter")
		case len(values) > 1 || (field != nil && seen[field.Number()]):
			return invalid(name, "given more than once")
		case field != nil:
			seen[field.Number()] = true
			if !fits(field, values[0]) {
				return invalid(field.JSONName(), "not of the right type")
			}
		}
		if (name == providerParam || name == waitParam) && !plain(values[0]) {
			return invalid(name, "holds characters that cannot be part of it")
		}
	}
	c.provider, c.wait = given.Get(providerParam), given.Get(waitParam)
	for name := range given {
		if to.query[name] == nil {
			given.Del(name)
		}
	}
	r.URL.RawQuery = given.Encode()
	return nil
}

func fits(f protoreflect.FieldDescriptor, value string) bool {
	switch f.Kind() { //nolint:exhaustive // a test fails when a query field has a kind that is not here
	case protoreflect.StringKind:
		return utf8.ValidString(value)
	case protoreflect.Int32Kind:
		_, err := strconv.ParseInt(value, 10, 32)
		return err == nil
	default:
		return false
	}
}

// plain says whether the text may be metadata.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= 100
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z_]{0,29}$`)

// nameable answers the name of an unknown field or parameter if it can only be a name: something else may be a secret that
// was put into the wrong place, and is not to be repeated.
func nameable(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return ""
}
