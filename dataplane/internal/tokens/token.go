// Package tokens knows the client tokens: digest → scope. It never sees a token longer than it takes to hash it.
//
// A token that the pool made is 57 characters:
//
//	sk-pool- + 43 characters + 6 characters
//
// The 43 are 32 random bytes, read as one big-endian number and written in base 62 with the digits 0-9A-Za-z, most
// significant first, padded with 0. The 6 are the CRC-32 (IEEE) of all the characters before them, written alike: a typing
// error or a cut is told from a revoked token without asking anybody. Tokens carried over from elsewhere begin with sk-,
// have at least 22 characters and no CRC.
package tokens

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/provider"
)

// Token is what a client's token allows. Values are immutable; a change is a new value.
type Token struct {
	ID         uint64
	Revision   uint64
	Hash       [32]byte          // SHA-256 of the whole token
	Providers  []string          // empty: all
	Models     []string          // globs; empty: all
	ExpireTime time.Time         // zero: never
	AllowedIPs []netip.Prefix    // empty: all
	Limits     capacity.Limits   // what all nodes may use together
	Account    *capacity.Account // what counts its use here; nil: it has no limits
	Tenant     string            // tokens with the same one share kept answers; empty: none does
	Cache      *bool             // whether answers are kept; nil: as the provider says
}

// Why a token does not allow a request.
var (
	ErrExpired     = errors.New("the token has expired")
	ErrNotProvider = errors.New("the token does not allow this provider")
	ErrNotModel    = errors.New("the token does not allow this model")
	ErrNotAddress  = errors.New("the token does not allow this address")
)

// AllowsFrom answers nil if the token may be used from the address. A range of IPv4 also holds its addresses as IPv6 writes
// them; an address that is not known is in no range.
func (t *Token) AllowsFrom(addr netip.Addr) error {
	if len(t.AllowedIPs) == 0 {
		return nil
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range t.AllowedIPs {
		if p.Contains(addr) {
			return nil
		}
	}
	return ErrNotAddress
}

// Allows answers nil if the token may ask the provider for the model now. An empty model asks for none in particular.
func (t *Token) Allows(providerID, model string, now time.Time) error {
	switch {
	case !t.ExpireTime.IsZero() && !now.Before(t.ExpireTime):
		return ErrExpired
	case len(t.Providers) > 0 && !slices.Contains(t.Providers, providerID):
		return ErrNotProvider
	case !provider.MatchModel(t.Models, model):
		return ErrNotModel
	default:
		return nil
	}
}
