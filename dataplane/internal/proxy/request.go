package proxy

import (
	"errors"
	"strings"

	"ollama-api-pool/dataplane/internal/provider"
)

const maxRequestDepth = 64

// request is what the pool needs to know of a body. It is found without decoding the rest, and the slices are parts of the
// body, so that where they stand in it is known too.
type request struct {
	model   string
	stream  bool
	name    []byte // the value that model was read from
	options []byte // the value of stream_options; nil: there is none
	session []byte // the value of prompt_cache_key; nil: there is none
	opening []byte // the value of the first member that holds what is asked
	system  []byte // the value of system, or of instructions; nil: there is none
}

// scanRequest finds what the pool needs to know. Of duplicates the last counts, as with encoding/json. A name in another
// spelling ("Model") is refused: some upstreams would take it for the real one, and a token's scope is judged by the model.
func scanRequest(body []byte, api *clientAPI) (request, *problem) {
	var found request
	var model, name, stream []byte
	var misspelt string
	err := provider.Members(body, maxRequestDepth, func(key, value []byte) {
		if string(key) == "stream_options" {
			found.options = value
			return
		}
		if string(value) == "null" { // changes nothing, as with encoding/json
			return
		}
		switch string(key) {
		case "model":
			model = value
		case "name":
			name = value
		case "stream":
			stream = value
		case "prompt_cache_key":
			found.session = value
		case "messages", "prompt", "input":
			found.opening = value
		case "system", "instructions":
			found.system = value
		default:
			switch {
			case strings.EqualFold(string(key), "model"):
				misspelt = "model"
			case strings.EqualFold(string(key), "stream"):
				misspelt = "stream"
			case strings.EqualFold(string(key), "stream_options") && api.usageOnDemand:
				misspelt = "stream_options"
			case strings.EqualFold(string(key), "name") && api.nameToo:
				misspelt = "name"
			}
		}
	})
	switch {
	case errors.Is(err, provider.ErrTooDeep):
		return request{}, problemTooDeep
	case errors.Is(err, provider.ErrNotObject):
		return request{}, problemNotObject
	case err != nil:
		return request{}, problemMalformed
	case misspelt != "":
		return request{}, problemBody(misspelt, "The parameter \""+misspelt+"\" must be written in lower case.")
	}
	found.name, found.model, found.stream = model, provider.Text(model), api.streams
	if found.model == "" && api.nameToo {
		found.name, found.model = name, provider.Text(name)
	}
	if found.model == "" {
		return request{}, problemBody("model", "The parameter \"model\" is required and must be a string.")
	}
	switch string(stream) {
	case "true":
		found.stream = true
	case "false":
		found.stream = false
	case "":
	default:
		return request{}, problemBody("stream", "The parameter \"stream\" must be true or false.")
	}
	return found, nil
}
