package proxy

import (
	"bytes"
	"strings"

	"ollama-api-pool/dataplane/internal/provider"
)

// clientAPI is one of the APIs that clients speak, which their path tells: how its errors look, and how its streams end. The
// answers themselves pass as the upstream wrote them.
type clientAPI struct {
	// errorBody is a problem as a whole answer, and errorEvent as the last event of a stream that is under way.
	errorBody  func(*problem) []byte
	errorEvent func(*problem) []byte
	// ends says whether an event is the last one of a complete stream. Some streams have events behind the one that shows
	// that the answer is complete; finishes tells that one.
	ends     func(event []byte) bool
	finishes func(event []byte) bool
	// fails says whether the last event of a stream tells that there is no answer after all.
	fails func(event []byte) bool
	// streams says whether an answer is streamed if the body does not say.
	streams bool
	// nameToo: the model may be called name, as older clients do.
	nameToo bool
	// usageOnDemand: a stream tells its usage only if the request has stream_options that ask for it.
	usageOnDemand bool
}

var (
	openAIChat      = &clientAPI{errorBody: openAIError, errorEvent: openAIErrorEvent, ends: isDone, finishes: hasFinishReason, fails: never, usageOnDemand: true}
	openAIResponses = &clientAPI{errorBody: openAIError, errorEvent: responsesErrorEvent, ends: isResponseEnd, finishes: never, fails: isResponseFailed}
	anthropic       = &clientAPI{errorBody: anthropicError, errorEvent: anthropicErrorEvent, ends: isMessageStop, finishes: never, fails: never}
	ollamaChat      = &clientAPI{errorBody: ollamaError, errorEvent: ollamaErrorEvent, ends: isOllamaDone, finishes: never, fails: never, streams: true}
	ollamaPlain     = &clientAPI{errorBody: ollamaError, errorEvent: ollamaErrorEvent, ends: isOllamaDone, finishes: never, fails: never, nameToo: true}
)

// apiOf answers the API that a path belongs to, whether or not there is anything at it: its errors are to be understood.
func apiOf(path string) *clientAPI {
	if first, rest, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok && first != "api" && first != "v1" {
		path = "/" + rest
	}
	switch {
	case strings.HasPrefix(path, "/api/"):
		return ollamaPlain
	case path == "/v1/messages", strings.HasPrefix(path, "/v1/messages/"):
		return anthropic
	default:
		return openAIChat
	}
}

func never([]byte) bool { return false }

// isResponseEnd says whether an event of a Responses stream is its last, whatever became of the response.
func isResponseEnd(event []byte) bool {
	if !bytes.Contains(event, []byte("response.completed")) && !bytes.Contains(event, []byte("response.incomplete")) &&
		!bytes.Contains(event, []byte("response.failed")) {
		return false
	}
	switch eventType(event) {
	case "response.completed", "response.incomplete", "response.failed":
		return true
	default: // somebody talks about it
		return false
	}
}

func isResponseFailed(event []byte) bool { return eventType(event) == "response.failed" }

func isMessageStop(event []byte) bool {
	return bytes.Contains(event, []byte("message_stop")) && eventType(event) == "message_stop"
}

// eventType answers the type that an event's data names; empty: none.
func eventType(event []byte) (name string) {
	data, _ := eventData(event)
	_ = provider.Members(data, provider.MaxAnswerDepth, func(key, value []byte) { // what is no JSON has no type
		if string(key) == "type" {
			name = provider.Text(value)
		}
	})
	return name
}

// isOllamaDone says whether a line is the one that ends a stream. All lines say that they are not, so that a look at the
// bytes must do for those.
func isOllamaDone(line []byte) bool {
	if !bytes.Contains(line, []byte(`"done"`)) || !bytes.Contains(line, []byte("true")) {
		return false
	}
	done := false
	_ = provider.Members(line, provider.MaxAnswerDepth, func(key, value []byte) {
		if string(key) == "done" {
			done = string(value) == "true"
		}
	})
	return done
}
