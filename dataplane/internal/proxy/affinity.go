package proxy

import (
	"hash/fnv"

	"ollama-api-pool/dataplane/internal/provider"
)

// Providers keep what a prompt begins with, for the key that it came with: a conversation that stays with one key is answered
// sooner and costs less. A rotation would throw that away.

// sessionHeaders name a conversation, as clients have it.
var sessionHeaders = [...]string{"X-Session-Id", "Session_id", "Session-Id", "X-Session-Affinity"}

// openingBytes is how much of what is asked tells one conversation from another.
const openingBytes = 1 << 10

// affinity is the same number for requests that should go to the same key; 0: any key will do.
func (x *exchange) affinity() uint64 {
	if session := provider.Text(x.asked.session); session != "" {
		return fingerprint('s', []byte(session))
	}
	for _, name := range sessionHeaders {
		if v := x.r.Header[name]; len(v) == 1 && v[0] != "" {
			return fingerprint('s', []byte(v[0]))
		}
	}
	if !x.prov.PromptAffinity || len(x.asked.opening)+len(x.asked.system) == 0 {
		return 0
	}
	return fingerprint('p', firstOf(x.asked.system), firstOf(x.asked.opening))
}

func firstOf(part []byte) []byte { return part[:min(len(part), openingBytes)] }

// fingerprint is never 0. All data planes find the same, so that a client that comes to another one keeps its key.
func fingerprint(kind byte, parts ...[]byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{kind})
	for _, p := range parts {
		_, _ = h.Write(p)
	}
	return max(h.Sum64(), 1)
}
