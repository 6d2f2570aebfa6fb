package seal

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	kekLen     = 32
	maxKEKFile = 1024 // far more than a KEK in any encoding
)

// KEK is the key encryption key. It wraps keysets and does nothing else. The key lives in a closure so that no way of
// printing a KEK, or a struct that holds one, shows it.
type KEK struct{ reveal func() []byte }

// Format never writes the key, whatever the verb.
func (KEK) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[kek]") }

// id tells KEKs apart without telling them: of 32 random bytes a hash gives nothing away.
func (k KEK) id() [8]byte {
	sum := sha256.Sum256(append([]byte("apipool kek id 1"), k.reveal()...))
	return [8]byte(sum[:8])
}

// NewKEK draws a KEK and leaves it at path, in a new file of mode 0600, synced. It never replaces a file.
func NewKEK(path string) error {
	key := make([]byte, kekLen)
	rand.Read(key) // never fails: see crypto/rand
	return writeNew(path, []byte(hex.EncodeToString(key)+"\n"))
}

// LoadKEK reads a KEK that NewKEK or an operator has left at path. It answers ErrMissingKEK, ErrOpenKEK or
// ErrMalformedKEK, with the path.
func LoadKEK(path string) (KEK, error) {
	text, err := readPrivate(path)
	if err != nil {
		return KEK{}, fmt.Errorf("%s: %w", path, err)
	}
	key, err := parseKEK(strings.TrimSpace(string(text)))
	if err != nil {
		return KEK{}, fmt.Errorf("%s: %w", path, err)
	}
	return KEK{reveal: func() []byte { return key }}, nil
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissingKEK
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()

	info, err := f.Stat() // of the open file, which nobody can exchange any more
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrMalformedKEK
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w (it is %04o)", ErrOpenKEK, info.Mode().Perm())
	}
	return io.ReadAll(io.LimitReader(f, maxKEKFile+1))
}

// parseKEK takes hex and the four dialects of base64. Errors never quote the text.
func parseKEK(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(kekLen) {
		if key, err := hex.DecodeString(text); err == nil {
			return key, nil
		}
		return nil, ErrMalformedKEK
	}
	for _, encoding := range [...]*base64.Encoding{
		base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
	} {
		if key, err := encoding.DecodeString(text); err == nil && len(key) == kekLen {
			return key, nil
		}
	}
	return nil, ErrMalformedKEK
}

// writeNew leaves data at path so that it outlasts a power cut, or leaves nothing there.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
