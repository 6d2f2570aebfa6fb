package proxy

import (
	"encoding/json"
	"net/http"
)

// The shapes of errors that clients understand; an SDK shows nothing, or the wrong thing, of another API's.

func openAIError(p *problem) []byte {
	e := openAIErrorObject{Message: p.message, Type: p.typ}
	if p.param != "" {
		e.Param = &p.param
	}
	if p.code != "" {
		e.Code = &p.code
	}
	return encode(map[string]openAIErrorObject{"error": e})
}

type openAIErrorObject struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func openAIErrorEvent(p *problem) []byte { return dataEvent("", openAIError(p)) }

// responsesErrorEvent is the error event of a Responses stream, which has no error object.
func responsesErrorEvent(p *problem) []byte {
	return dataEvent("error", encode(struct {
		Type    string  `json:"type"`
		Code    string  `json:"code"`
		Message string  `json:"message"`
		Param   *string `json:"param"`
	}{"error", p.code, p.message, nil}))
}

func anthropicError(p *problem) []byte {
	type detail struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	return encode(struct {
		Type  string `json:"type"`
		Error detail `json:"error"`
	}{"error", detail{anthropicType(p.status), p.message}})
}

func anthropicErrorEvent(p *problem) []byte { return dataEvent("error", anthropicError(p)) }

// anthropicType answers the type that goes with a status; Anthropic has one for each.
func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable, statusOverloaded:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status < http.StatusInternalServerError {
		return "invalid_request_error"
	}
	return "api_error"
}

// ollamaError has a text where others have an object: that is what Ollama's own clients print.
func ollamaError(p *problem) []byte { return encode(map[string]string{"error": p.message}) }

func ollamaErrorEvent(p *problem) []byte { return append(ollamaError(p), '\n') }

// dataEvent frames data as a server-sent event; an empty name is none.
func dataEvent(name string, data []byte) []byte {
	var event []byte
	if name != "" {
		event = append(append(append(event, "event: "...), name...), '\n')
	}
	return append(append(append(event, "data: "...), data...), "\n\n"...)
}

func encode(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil { // texts always encode
		panic(err)
	}
	return body
}
