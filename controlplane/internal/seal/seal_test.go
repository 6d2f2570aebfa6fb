package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ollama-api-pool/controlplane/internal/seal"
)

const secret = "sk-CANARY-0123456789abcdef0123456789abcdef"

func newKEK(t *testing.T) seal.KEK {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	if err := seal.NewKEK(path); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.LoadKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

func newKeyset(t *testing.T) (seal.KEK, []byte, *seal.Keyset) {
	t.Helper()
	kek := newKEK(t)
	wrapped, keys, err := seal.NewKeyset(kek)
	if err != nil {
		t.Fatal(err)
	}
	return kek, wrapped, keys
}

func TestSealedValueOpensAfterTheKeysetWasReopened(t *testing.T) {
	t.Parallel()
	kek, wrapped, keys := newKeyset(t)
	for _, plain := range []string{"", "x", secret, strings.Repeat("long", 10_000)} {
		sealed, err := keys.Seal([]byte(plain), "ad")
		if err != nil {
			t.Fatal(err)
		}
		again, err := seal.OpenKeyset(kek, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again.Open(sealed, "ad")
		if err != nil || string(got) != plain {
			t.Errorf("%.20q: opened as %.20q, %v", plain, got, err)
		}
		if again.Fingerprint(plain) != keys.Fingerprint(plain) {
			t.Errorf("%.20q: the reopened keyset makes another fingerprint", plain)
		}
	}
}

func TestValueOpensUnderItsOwnAssociatedDataOnly(t *testing.T) {
	t.Parallel()
	_, _, keys := newKeyset(t)
	sealed, err := keys.Seal([]byte(secret), seal.AssociatedData("cluster", "upstream_key", "k_1", "ollama"))
	if err != nil {
		t.Fatal(err)
	}
	for what, ad := range map[string]string{
		"another cluster":  seal.AssociatedData("cluster2", "upstream_key", "k_1", "ollama"),
		"another kind":     seal.AssociatedData("cluster", "join_token", "k_1", "ollama"),
		"another id":       seal.AssociatedData("cluster", "upstream_key", "k_2", "ollama"),
		"another provider": seal.AssociatedData("cluster", "upstream_key", "k_1", "openrouter"),
		"fields swapped":   seal.AssociatedData("cluster", "upstream_key", "ollama", "k_1"),
		"a field moved":    seal.AssociatedData("cluster", "upstream_key", "k_1ollama", ""),
		"none":             "",
	} {
		if got, err := keys.Open(sealed, ad); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: opened as %q, %v; want ErrDamaged", what, got, err)
		}
	}
}

func TestAssociatedDataIsUnambiguous(t *testing.T) {
	t.Parallel()
	fields := []string{"", "a", "|", "1:a", "a|1:b", "|0:", " | "}
	seen := map[string][4]string{}
	for _, a := range fields {
		for _, b := range fields {
			for _, c := range fields {
				for _, d := range fields {
					ad := seal.AssociatedData(a, b, c, d)
					if other, ok := seen[ad]; ok {
						t.Fatalf("%q stands for %q and %q", ad, other, [4]string{a, b, c, d})
					}
					seen[ad] = [4]string{a, b, c, d}
				}
			}
		}
	}
	if got, want := seal.AssociatedData("c", "upstream_key", "k_1", ""), "seal format 1|1:c|12:upstream_key|3:k_1|0:"; got != want {
		t.Errorf("got %q, want %q: what is sealed already would not open", got, want)
	}
}

func TestFlippedBitIsNoticed(t *testing.T) {
	t.Parallel()
	kek, wrapped, keys := newKeyset(t)
	sealed, err := keys.Seal([]byte(secret), "ad")
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := keys.Open(bad, "ad"); !errors.Is(err, seal.ErrDamaged) {
			t.Fatalf("bit %d of a sealed value: %v, want ErrDamaged", i, err)
		}
	}
	for n := range sealed {
		if _, err := keys.Open(sealed[:n], "ad"); !errors.Is(err, seal.ErrDamaged) {
			t.Fatalf("the first %d bytes of a sealed value: %v, want ErrDamaged", n, err)
		}
	}
	for i := range len(wrapped) * 8 {
		bad := bytes.Clone(wrapped)
		bad[i/8] ^= 1 << (i % 8)
		reopened, err := seal.OpenKeyset(kek, bad)
		if err == nil {
			// Tink tells in clear what kind of keys a keyset holds; changing that must not change the keys.
			if _, err := reopened.Open(sealed, "ad"); err != nil || reopened.Fingerprint(secret) != keys.Fingerprint(secret) {
				t.Fatalf("bit %d of a wrapped keyset made other keys", i)
			}
			continue
		}
		if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrWrongKEK) {
			t.Fatalf("bit %d of a wrapped keyset: %v, want ErrDamaged or ErrWrongKEK", i, err)
		}
	}
	for n := range wrapped {
		if _, err := seal.OpenKeyset(kek, wrapped[:n]); err == nil {
			t.Fatalf("the first %d bytes of a wrapped keyset opened", n)
		}
	}
}

func TestWrongKEK(t *testing.T) {
	t.Parallel()
	_, wrapped, _ := newKeyset(t)
	if _, err := seal.OpenKeyset(newKEK(t), wrapped); !errors.Is(err, seal.ErrWrongKEK) {
		t.Errorf("got %v, want ErrWrongKEK", err)
	}
}

func TestEachKeysetHasItsOwnKeys(t *testing.T) {
	t.Parallel()
	_, _, a := newKeyset(t)
	_, _, b := newKeyset(t)
	sealed, err := a.Seal([]byte(secret), "ad")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(sealed, "ad"); !errors.Is(err, seal.ErrDamaged) {
		t.Errorf("another keyset's value: %v, want ErrDamaged", err)
	}
	if a.Fingerprint(secret) == b.Fingerprint(secret) {
		t.Error("two keysets make one fingerprint: it is not keyed")
	}
	if a.Fingerprint(secret) == a.Fingerprint(secret+"x") {
		t.Error("two secrets have one fingerprint")
	}
	again, err := a.Seal([]byte(secret), "ad")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(sealed, again) {
		t.Error("sealing twice gives the same bytes: equal secrets would show")
	}
}

func TestKEKFile(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{0xa5, 0x3c}, 16)
	hexText := hex.EncodeToString(key)
	for _, c := range []struct {
		name, text string
		mode       fs.FileMode
		want       error
	}{
		{"hex", hexText, 0o600, nil},
		{"hex with a line end", hexText + "\r\n", 0o600, nil},
		{"upper case hex", strings.ToUpper(hexText), 0o600, nil},
		{"base64", base64.StdEncoding.EncodeToString(key), 0o600, nil},
		{"base64 for addresses, unpadded", base64.RawURLEncoding.EncodeToString(key), 0o600, nil},
		{"read-only", hexText, 0o400, nil},
		{"readable by the group", hexText, 0o640, seal.ErrOpenKEK},
		{"readable by others", hexText, 0o604, seal.ErrOpenKEK},
		{"writable by the group", hexText, 0o620, seal.ErrOpenKEK},
		{"empty", "", 0o600, seal.ErrMalformedKEK},
		{"too short", hexText[:62], 0o600, seal.ErrMalformedKEK},
		{"too long", hexText + "00", 0o600, seal.ErrMalformedKEK},
		{"no hex", strings.Repeat("zz", 32), 0o600, seal.ErrMalformedKEK},
		{"two lines", hexText + "\n" + hexText, 0o600, seal.ErrMalformedKEK},
		{"huge", strings.Repeat("a", 1<<20), 0o600, seal.ErrMalformedKEK},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kek")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.mode); err != nil { // the umask does not touch this
				t.Fatal(err)
			}
			_, err := seal.LoadKEK(path)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%q does not name the file", err)
			}
			if len(c.text) >= 8 && strings.Contains(err.Error(), c.text[:8]) {
				t.Errorf("%q quotes the file", err)
			}
		})
	}
}

func TestMissingKEK(t *testing.T) {
	t.Parallel()
	if _, err := seal.LoadKEK(filepath.Join(t.TempDir(), "kek")); !errors.Is(err, seal.ErrMissingKEK) {
		t.Errorf("got %v, want ErrMissingKEK", err)
	}
	if _, err := seal.LoadKEK(t.TempDir()); !errors.Is(err, seal.ErrMalformedKEK) {
		t.Errorf("of a directory: got %v, want ErrMalformedKEK", err)
	}
}

func TestNewKEKIsPrivateAndReplacesNothing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	if err := seal.NewKEK(path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("its mode is %v, want 0600", info.Mode())
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.NewKEK(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v, want ErrExist", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// Nothing that holds a key may show it, however it is printed, not even from within an unexported field.
func TestNothingPrintable(t *testing.T) {
	t.Parallel()
	raw := []byte("THE-KEK-THAT-NOBODY-MAY-EVER-SEE")
	path := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(path, []byte(hex.EncodeToString(raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.LoadKEK(path)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, keys, err := seal.NewKeyset(kek)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := keys.Seal([]byte(secret), "ad")
	if err != nil {
		t.Fatal(err)
	}

	var out bytes.Buffer
	holder := struct {
		Kek  seal.KEK
		kek  seal.KEK
		keys *seal.Keyset
	}{kek, kek, keys}
	for _, v := range []any{kek, &kek, keys, *keys, holder, &holder} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	out.Write(wrapped)
	out.Write(sealed)

	for what, canary := range map[string]string{
		"the KEK": string(raw), "the KEK in hex": hex.EncodeToString(raw), "the KEK in base64": base64.StdEncoding.EncodeToString(raw),
		"the KEK as numbers": strings.Trim(fmt.Sprintf("%d", raw), "[]"), "a secret": secret, "part of a secret": "CANARY",
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(canary)) {
			t.Errorf("%s can be seen", what)
		}
	}
}
