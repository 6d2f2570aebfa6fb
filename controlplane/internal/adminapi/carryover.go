package adminapi

import (
	"crypto/sha256"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
)

const (
	carriedPrefix = "sk-"
	minCarried    = len(carriedPrefix) + 22 // 128 bits in letters and digits
	minDifferent  = 10                      // characters: what has fewer was not drawn at random
)

// carriedToken takes over a token that clients have already. It must be as hard to guess as one made here. One that only
// looks like one made here would be refused by the data planes without being looked up.
func carriedToken(secret string) (clientToken, *refusal) {
	different := map[rune]bool{}
	for _, c := range strings.TrimPrefix(secret, carriedPrefix) {
		different[c] = true
	}
	switch {
	case !strings.HasPrefix(secret, carriedPrefix):
		return clientToken{}, invalid("token", "must begin with sk-")
	case strings.HasPrefix(secret, clientTokenPrefix) && !isClientToken(secret):
		return clientToken{}, invalid("token", "begins like a token made here, but its checksum is wrong")
	case len(secret) < minCarried || len(secret) > pool.MaxSecret || !pool.IsSecret(secret):
		return clientToken{}, invalid("token", "must have 25 to 512 visible ASCII characters: sk- and at least 128 bits")
	case len(different) < minDifferent:
		return clientToken{}, invalid("token", "could be guessed: at least 10 of its characters must differ")
	}
	return clientToken{secret: secret, hash: sha256.Sum256([]byte(secret)), display: pool.Display(secret)}, nil
}
