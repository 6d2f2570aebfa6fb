package tokens

import (
	"errors"
	"net/http"
	"strings"
)

// Why a request carries no credential that could be looked at.
var (
	ErrNoCredential = errors.New("no credential")
	ErrAmbiguous    = errors.New("more than one credential")
)

// Credential answers the token that a request carries, as Authorization: Bearer or as x-api-key. Two that differ, or a
// header that comes twice, are refused: whoever is in front of the pool may have looked at the other one. An Authorization
// of another scheme is for whoever is in front.
func Credential(h http.Header) (string, error) {
	authorization, apiKey := h["Authorization"], h["X-Api-Key"]
	if len(authorization) > 1 || len(apiKey) > 1 {
		return "", ErrAmbiguous
	}
	var bearer, key string
	if len(authorization) == 1 {
		bearer = bearerToken(authorization[0])
	}
	if len(apiKey) == 1 {
		key = strings.Trim(apiKey[0], " \t")
	}
	switch {
	case bearer == "" && key == "":
		return "", ErrNoCredential
	case bearer == "":
		return key, nil
	case key == "" || key == bearer:
		return bearer, nil
	default:
		return "", ErrAmbiguous
	}
}

func bearerToken(value string) string {
	scheme, token, _ := strings.Cut(strings.Trim(value, " \t"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.Trim(token, " \t")
}
