package pool

import (
	"crypto/sha256"
	"encoding/binary"
)

// Limits bounds what all nodes may use of something together: of a key, of an account of keys, or of a client token. 0: no
// bound. Days and months are those of UTC, by the control plane's clock.
type Limits struct {
	RequestsPerMinute uint64
	TokensPerMinute   uint64 // of input and output, as in the other limits of tokens
	MaxConcurrent     uint64
	RequestsPerDay    uint64
	TokensPerDay      uint64
	RequestsPerMonth  uint64 // of client tokens only, as TokensPerMonth
	TokensPerMonth    uint64
	// Hard: a node whose lease is over may use the floor of its share only, because the rest may have been given to another.
	// Otherwise it uses its last share on. Budgets (days, months) are hard always.
	Hard bool
}

// GroupID names an account of keys: the same group of two providers is two accounts.
type GroupID uint64

// GroupIDOf answers the id of a provider's group; 0: the key is alone.
func GroupIDOf(provider ProviderID, group string) GroupID {
	if group == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(string(provider) + "\x00" + group))
	return GroupID(max(binary.BigEndian.Uint64(sum[:]), 1))
}

// strictest answers the lower of each limit of two keys of one account.
func (l Limits) strictest(o Limits) Limits {
	lower := func(a, b uint64) uint64 {
		if a == 0 || (b != 0 && b < a) {
			return b
		}
		return a
	}
	return Limits{
		RequestsPerMinute: lower(l.RequestsPerMinute, o.RequestsPerMinute), TokensPerMinute: lower(l.TokensPerMinute, o.TokensPerMinute),
		MaxConcurrent: lower(l.MaxConcurrent, o.MaxConcurrent), RequestsPerDay: lower(l.RequestsPerDay, o.RequestsPerDay),
		TokensPerDay: lower(l.TokensPerDay, o.TokensPerDay), RequestsPerMonth: lower(l.RequestsPerMonth, o.RequestsPerMonth),
		TokensPerMonth: lower(l.TokensPerMonth, o.TokensPerMonth), Hard: l.Hard || o.Hard,
	}
}
