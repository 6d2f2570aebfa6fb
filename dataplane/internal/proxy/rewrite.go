package proxy

import (
	"encoding/json"

	"ollama-api-pool/dataplane/internal/provider"
)

// A body goes upstream byte for byte, with two exceptions that are made here: the name of a model that has an alias, and
// the wish for usage that a bound of tokens needs. Nothing but those bytes is touched.

// edit puts with in the place of part, which is a part of the body; an empty part is a place to put it.
type edit struct{ part, with []byte }

// rewrite makes the changes that apply, once for all tries.
func (x *exchange) rewrite() *problem {
	var edits [2]edit
	n := 0
	if to, ok := x.prov.ModelAliases[x.model]; ok {
		quoted, err := json.Marshal(to)
		if err != nil { // strings always encode
			panic(err)
		}
		edits[n], x.model = edit{x.asked.name, quoted}, to
		n++
	}
	if x.stream && x.api.usageOnDemand && x.token.Limits.OfTokens() {
		if e, ok := wantUsage(x.body, x.asked.options); ok {
			edits[n], x.hideUsage = e, true
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return x.replaceBody(edits[:n])
}

// wantUsage is the edit that asks a stream for its usage; ok is false if the client has asked for it, or wrote what no
// upstream will take.
func wantUsage(body, options []byte) (e edit, ok bool) {
	if options == nil || string(options) == "null" {
		const want = `{"include_usage":true}`
		if options != nil {
			return edit{options, []byte(want)}, true
		}
		return edit{opening(body), []byte(`"stream_options":` + want + ",")}, true
	}
	var include []byte
	empty := true
	err := provider.Members(options, maxRequestDepth, func(key, value []byte) {
		empty = false
		if string(key) == "include_usage" {
			include = value
		}
	})
	switch {
	case err != nil || string(include) == "true":
		return edit{}, false
	case include != nil:
		return edit{include, []byte("true")}, true
	case empty:
		return edit{opening(options), []byte(`"include_usage":true`)}, true
	default:
		return edit{opening(options), []byte(`"include_usage":true,`)}, true
	}
}

// opening is the empty part behind the first brace of an object.
func opening(object []byte) []byte {
	at := 0
	for object[at] != '{' {
		at++
	}
	return object[at+1 : at+1]
}

// replaceBody makes a new body with the edits, in the memory that all requests have.
func (x *exchange) replaceBody(edits []edit) *problem {
	if len(edits) == 2 && offset(x.body, edits[1].part) < offset(x.body, edits[0].part) {
		edits[0], edits[1] = edits[1], edits[0]
	}
	size := len(x.body)
	for _, e := range edits {
		size += len(e.with) - len(e.part)
	}
	if !x.hold(int64(size)) {
		return problemBusy
	}
	body, from := make([]byte, 0, size), 0
	for _, e := range edits {
		at := offset(x.body, e.part)
		body = append(append(body, x.body[from:at]...), e.with...)
		from = at + len(e.part)
	}
	x.body = append(body, x.body[from:]...)
	return nil
}

// offset answers where a part of a body begins in it: all slices of one array end their capacity at the same place.
func offset(body, part []byte) int { return cap(body) - cap(part) }
