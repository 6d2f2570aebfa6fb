package rest

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "ollama-api-pool/gen/pool/admin/v1" // registers the descriptors that the routes are read from
)

const adminPackage = "pool.admin.v1"

// route is one HTTP rule of the protos. The gateway has its own copy of the same rules, but does not tell enough of it: the
// methods that a path has, the parameters that a query may have, and the shape of the body.
type route struct {
	rpc      string // full name of the method, as gRPC writes it
	method   string
	pattern  string   // as in the proto; names the route in logs
	segments []string // a segment in braces takes any text
	verb     string   // what follows the last segment, with its colon; empty: nothing
	input    protoreflect.MessageDescriptor
	body     protoreflect.MessageDescriptor // nil: the body is not read
	query    map[string]protoreflect.FieldDescriptor
}

// readRoutes reads the HTTP rules of all admin services.
func readRoutes() ([]route, error) {
	var routes []route
	var failed error
	protoregistry.GlobalFiles.RangeFilesByPackage(adminPackage, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				r, err := readRoute(methods.Get(j))
				if err != nil {
					failed = err
					return false
				}
				routes = append(routes, r)
			}
		}
		return true
	})
	return routes, failed
}

func readRoute(m protoreflect.MethodDescriptor) (route, error) {
	rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil || len(rule.GetAdditionalBindings()) > 0 {
		return route{}, fmt.Errorf("%s: needs exactly one HTTP rule", m.FullName())
	}
	r := route{
		rpc:   "/" + string(m.Parent().FullName()) + "/" + string(m.Name()),
		input: m.Input(), query: map[string]protoreflect.FieldDescriptor{},
	}
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		r.method, r.pattern = "GET", p.Get
	case *annotations.HttpRule_Post:
		r.method, r.pattern = "POST", p.Post
	case *annotations.HttpRule_Patch:
		r.method, r.pattern = "PATCH", p.Patch
	case *annotations.HttpRule_Delete:
		r.method, r.pattern = "DELETE", p.Delete
	default:
		return route{}, fmt.Errorf("%s: unsupported HTTP method", m.FullName())
	}
	path := strings.TrimPrefix(r.pattern, "/")
	if at := strings.LastIndex(path, "}:"); at >= 0 {
		path, r.verb = path[:at+1], path[at+1:]
	}
	r.segments = strings.Split(path, "/")
	switch rule.GetBody() {
	case "":
		r.addQuery()
	case "*":
		r.body = m.Input()
	default:
		r.body = m.Input().Fields().ByName(protoreflect.Name(rule.GetBody())).Message()
	}
	return r, nil
}

// addQuery makes parameters of the request's fields that are not part of the path, under both of their names.
func (r *route) addQuery() {
	fields := r.input.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if slices.Contains(r.segments, "{"+string(f.Name())+"}") {
			continue
		}
		r.query[f.JSONName()] = f
		r.query[string(f.Name())] = f
	}
}

// match answers the route's path parameters if the path is its own.
func (r *route) match(path []string) (params []string, ok bool) {
	if len(path) != len(r.segments) {
		return nil, false
	}
	if r.verb != "" {
		last, ok := strings.CutSuffix(path[len(path)-1], r.verb)
		if !ok {
			return nil, false
		}
		path = append(slices.Clone(path[:len(path)-1]), last)
	}
	for i, want := range r.segments {
		switch {
		case !strings.HasPrefix(want, "{"):
			if path[i] != want {
				return nil, false
			}
		case path[i] == "" || !utf8.ValidString(path[i]): // no message can hold it
			return nil, false
		default:
			params = append(params, path[i])
		}
	}
	return params, true
}

// find answers the route for the method and path. Without one, it answers the methods that the path has, if any. Of the
// routes that fit a path only the most literal ones count: what is a word of its own is nobody's id.
func find(routes []route, method, path string) (found *route, params, methods []string) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	best := -1
	for i := range routes {
		r := &routes[i]
		p, ok := r.match(segments)
		if !ok || r.literal() < best {
			continue
		}
		if r.literal() > best {
			best, found, methods = r.literal(), nil, nil
		}
		methods = append(methods, r.method)
		if r.method == method {
			found, params = r, p
		}
	}
	slices.Sort(methods)
	return found, params, slices.Compact(methods)
}

// literal answers how much of a path that fits the route is fixed: its words, and its verb.
func (r *route) literal() int {
	n := 0
	for _, s := range r.segments {
		if !strings.HasPrefix(s, "{") {
			n += 2
		}
	}
	if r.verb != "" {
		n++
	}
	return n
}
