//go:build !tink

package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
)

// This file stands in for keyset_tink.go until go.mod has golang.org/x/crypto, which Tink needs. Its format byte differs.
const (
	wrapFormat = 0
	keysetAD   = "apipool keyset 1"
)

// Keyset seals, opens and fingerprints. Its methods may be called from any goroutine.
type Keyset struct {
	records      cipher.AEAD
	fingerprints []byte
}

// Format never writes the keys, whatever the verb.
func (Keyset) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[keyset]") }

// NewKeyset draws the keys. The wrapped form is to be stored; the other is ready for use.
func NewKeyset(kek KEK) (wrapped []byte, _ *Keyset, err error) {
	keys := make([]byte, 64)
	rand.Read(keys) // never fails: see crypto/rand
	wrapper, err := newGCM(kek.reveal())
	if err != nil {
		return nil, nil, err
	}
	id := kek.id()
	wrapped = wrapper.Seal(append([]byte{wrapFormat}, id[:]...), nil, keys, []byte(keysetAD))
	k, err := newKeyset(keys)
	return wrapped, k, err
}

// OpenKeyset opens what NewKeyset has wrapped. It answers ErrWrongKEK for another KEK than that, and ErrDamaged if it is
// the right one but the keyset does not open.
func OpenKeyset(kek KEK, wrapped []byte) (*Keyset, error) {
	id := kek.id()
	if len(wrapped) < 1+len(id) || wrapped[0] != wrapFormat {
		return nil, ErrDamaged
	}
	if !bytes.Equal(wrapped[1:1+len(id)], id[:]) {
		return nil, ErrWrongKEK
	}
	wrapper, err := newGCM(kek.reveal())
	if err != nil {
		return nil, err
	}
	keys, err := wrapper.Open(nil, nil, wrapped[1+len(id):], []byte(keysetAD))
	if err != nil || len(keys) != 64 {
		return nil, ErrDamaged
	}
	return newKeyset(keys)
}

func newKeyset(keys []byte) (*Keyset, error) {
	records, err := newGCM(keys[:32])
	return &Keyset{records: records, fingerprints: keys[32:]}, err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Seal encrypts plaintext so that it opens under the same associated data only.
func (k *Keyset) Seal(plaintext []byte, ad string) ([]byte, error) {
	return k.records.Seal(nil, nil, plaintext, []byte(ad)), nil
}

// Open answers what was sealed under ad, or ErrDamaged.
func (k *Keyset) Open(sealed []byte, ad string) ([]byte, error) {
	plaintext, err := k.records.Open(nil, nil, sealed, []byte(ad))
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}

// Fingerprint answers what a secret is found by. It tells nothing to those who do not hold the keyset.
func (k *Keyset) Fingerprint(secret string) [16]byte {
	h := hmac.New(sha256.New, k.fingerprints)
	h.Write([]byte(secret))
	return [16]byte(h.Sum(nil)[:16])
}
