package rest

import (
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestRoutesAreUnderstood fails when a proto gains something that the checks of query or body do not know.
func TestRoutesAreUnderstood(t *testing.T) {
	routes, err := readRoutes()
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) < 21 {
		t.Errorf("only %d routes were read from the protos", len(routes))
	}
	for _, r := range routes {
		if r.body != nil {
			understood(t, r.body)
			continue
		}
		for name, f := range r.query {
			if f.IsList() || f.IsMap() || (f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.Int32Kind) {
				t.Errorf("%s: parameter %s has a kind that is not checked", r.pattern, name)
			}
		}
	}
}

func understood(t *testing.T, md protoreflect.MessageDescriptor) {
	t.Helper()
	if md.FullName() == "google.protobuf.Timestamp" {
		return
	}
	if md.ParentFile().Package() != adminPackage {
		t.Errorf("%s: its JSON form is not checked", md.FullName())
		return
	}
	for i := range md.Fields().Len() {
		f := md.Fields().Get(i)
		switch f.Kind() { //nolint:exhaustive // the rest is what the test is about
		case protoreflect.StringKind, protoreflect.BoolKind, protoreflect.Int32Kind, protoreflect.DoubleKind:
		case protoreflect.MessageKind:
			if f.IsMap() {
				if f.MapKey().Kind() != protoreflect.StringKind || f.MapValue().Kind() != protoreflect.StringKind {
					t.Errorf("%s: a map of other than texts", f.FullName())
				}
				continue
			}
			understood(t, f.Message())
		default:
			t.Errorf("%s: a kind that is not checked", f.FullName())
		}
	}
}
