package pool

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
)

// KeyID names an upstream key. Ids are random, not counted: after a backup is restored, a report about a key that the
// backup does not know can then never be taken for one about a newer key.
type KeyID uint64

// TokenID names a client token.
type TokenID uint64

// ProviderID names a provider; it is also its path prefix at the data planes.
type ProviderID string

// NodeID names a data plane, as in its certificate.
type NodeID string

// ErrBadID tells that a text is no id.
var ErrBadID = errors.New("not an id")

var idText = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

const (
	keyPrefix   = "k_"
	tokenPrefix = "t_"
)

// NewKeyID draws an id.
func NewKeyID() KeyID { return KeyID(randomID()) }

// NewTokenID draws an id.
func NewTokenID() TokenID { return TokenID(randomID()) }

// String answers the form that people and REST see, k_ and 13 characters.
func (id KeyID) String() string { return keyPrefix + formatID(uint64(id)) }

// String answers the form that people and REST see, t_ and 13 characters.
func (id TokenID) String() string { return tokenPrefix + formatID(uint64(id)) }

// ParseKeyID reads what String wrote.
func ParseKeyID(s string) (KeyID, error) {
	n, err := parseID(keyPrefix, s)
	return KeyID(n), err
}

// ParseTokenID reads what String wrote.
func ParseTokenID(s string) (TokenID, error) {
	n, err := parseID(tokenPrefix, s)
	return TokenID(n), err
}

func randomID() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails: see crypto/rand
		if id := binary.BigEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}

func formatID(id uint64) string {
	return idText.EncodeToString(binary.BigEndian.AppendUint64(nil, id))
}

func parseID(prefix, s string) (uint64, error) {
	if len(s) != len(prefix)+13 || s[:len(prefix)] != prefix {
		return 0, ErrBadID
	}
	b, err := idText.DecodeString(s[len(prefix):])
	if err != nil || len(b) != 8 {
		return 0, ErrBadID
	}
	return binary.BigEndian.Uint64(b), nil
}
