package adminapi

import (
	"net/textproto"
	"slices"
	"strings"
)

// ownHeaders are set by the data plane or by the transport. A provider's headers may replace none of them: the first ones
// carry credentials, which are kept elsewhere and never shown.
var ownHeaders = []string{
	"Authorization", "Cookie", "Cookie2", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Proxy-Authorization", "Host",
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Content-Length", "Content-Type", "Content-Encoding", "Accept-Encoding", "Expect",
}

const maxHeaderValue = 1000

// checkHeaders answers the headers under their canonical names. A refusal tells a header's name only if it is one of ours.
func checkHeaders(given map[string]string) (map[string]string, *refusal) {
	checked := make(map[string]string, len(given))
	for name, value := range given {
		if !isHeaderName(name) {
			return nil, invalid("headers", "holds something that is no header name")
		}
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if slices.Contains(ownHeaders, canonical) {
			return nil, invalid("headers", canonical+" cannot be set")
		}
		if _, twice := checked[canonical]; twice {
			return nil, invalid("headers", "holds a name twice")
		}
		if !isHeaderValue(value) {
			return nil, invalid("headers", "holds a value that is empty, too long or not plain ASCII text")
		}
		checked[canonical] = value
	}
	return checked, nil
}

func isHeaderName(s string) bool {
	for _, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

func isHeaderValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxHeaderValue && strings.TrimSpace(s) == s
}
