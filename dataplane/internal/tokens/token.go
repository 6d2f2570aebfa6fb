// Package tokens knows the client tokens: digest → scope. It never sees a token longer than it takes to hash it.
package tokens

import "time"

// Token is what a client's token allows. Values are immutable; a change is a new value.
type Token struct {
	ID         uint64
	Revision   uint64
	Hash       [32]byte  // SHA-256 of the whole token
	Providers  []string  // empty: all
	Models     []string  // globs; empty: all
	ExpireTime time.Time // zero: never
}
