package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	// wrapFormat is the first byte of a wrapped keyset: the KEK's id follows, the length of the sealed record keys as 4
	// bytes, these, and the sealed fingerprint keys, both as Tink's encrypted keysets.
	wrapFormat = 1

	recordsAD      = "apipool keyset 1|records"
	fingerprintsAD = "apipool keyset 1|fingerprints"
)

// Keyset seals, opens and fingerprints. Its methods may be called from any goroutine.
type Keyset struct {
	records      tink.AEAD
	fingerprints *prf.Set
}

// Format never writes the keys, whatever the verb.
func (Keyset) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[keyset]") }

// NewKeyset draws the keys. The wrapped form is to be stored; the other is ready for use.
func NewKeyset(kek KEK) (wrapped []byte, _ *Keyset, err error) {
	records, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, nil, err
	}
	fingerprints, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, nil, err
	}
	if wrapped, err = wrap(kek, records, fingerprints); err != nil {
		return nil, nil, err
	}
	k, err := newKeyset(records, fingerprints)
	return wrapped, k, err
}

// OpenKeyset opens what NewKeyset has wrapped. It answers ErrWrongKEK for another KEK than that, and ErrDamaged if it is
// the right one but the keyset does not open.
func OpenKeyset(kek KEK, wrapped []byte) (*Keyset, error) {
	id := kek.id()
	header := 1 + len(id) + 4
	if len(wrapped) < header || wrapped[0] != wrapFormat {
		return nil, ErrDamaged
	}
	if !bytes.Equal(wrapped[1:1+len(id)], id[:]) {
		return nil, ErrWrongKEK
	}
	length, rest := binary.BigEndian.Uint32(wrapped[header-4:]), wrapped[header:]
	if uint64(length) > uint64(len(rest)) {
		return nil, ErrDamaged
	}
	records, err := unwrap(kek, rest[:length], recordsAD)
	if err != nil {
		return nil, err
	}
	fingerprints, err := unwrap(kek, rest[length:], fingerprintsAD)
	if err != nil {
		return nil, err
	}
	return newKeyset(records, fingerprints)
}

func newKeyset(records, fingerprints *keyset.Handle) (*Keyset, error) {
	a, err := aead.New(records)
	if err != nil {
		return nil, err
	}
	p, err := prf.NewPRFSet(fingerprints)
	if err != nil {
		return nil, err
	}
	return &Keyset{records: a, fingerprints: p}, nil
}

func wrap(kek KEK, records, fingerprints *keyset.Handle) ([]byte, error) {
	a, err := subtle.NewAESGCM(kek.reveal())
	if err != nil {
		return nil, err
	}
	var r, f bytes.Buffer
	if err := records.WriteWithAssociatedData(keyset.NewBinaryWriter(&r), a, []byte(recordsAD)); err != nil {
		return nil, err
	}
	if err := fingerprints.WriteWithAssociatedData(keyset.NewBinaryWriter(&f), a, []byte(fingerprintsAD)); err != nil {
		return nil, err
	}
	id := kek.id()
	out := append([]byte{wrapFormat}, id[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(r.Len()))
	out = append(out, r.Bytes()...)
	return append(out, f.Bytes()...), nil
}

func unwrap(kek KEK, wrapped []byte, ad string) (*keyset.Handle, error) {
	a, err := subtle.NewAESGCM(kek.reveal())
	if err != nil {
		return nil, err
	}
	h, err := keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(wrapped)), a, []byte(ad))
	if err != nil {
		return nil, fmt.Errorf("%w (keyset)", ErrDamaged)
	}
	return h, nil
}

// Seal encrypts plaintext so that it opens under the same associated data only.
func (k *Keyset) Seal(plaintext []byte, ad string) ([]byte, error) {
	return k.records.Encrypt(plaintext, []byte(ad))
}

// Open answers what was sealed under ad, or ErrDamaged.
func (k *Keyset) Open(sealed []byte, ad string) ([]byte, error) {
	plaintext, err := k.records.Decrypt(sealed, []byte(ad))
	if err != nil {
		return nil, ErrDamaged // Tink's error says no more
	}
	return plaintext, nil
}

// Fingerprint answers what a secret is found by. It tells nothing to those who do not hold the keyset.
func (k *Keyset) Fingerprint(secret string) [16]byte {
	fp, err := k.fingerprints.ComputePrimaryPRF([]byte(secret), 16)
	if err != nil {
		panic("seal: fingerprint: " + err.Error()) // only asking for more bytes than the hash has can fail
	}
	return [16]byte(fp)
}
