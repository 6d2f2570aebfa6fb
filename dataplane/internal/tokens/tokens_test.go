package tokens

import (
	"crypto/rand"
	"errors"
	"hash/crc32"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// base62 writes n with the digits, padded to width: a second way of saying what the package comment says.
func base62(n *big.Int, width int) string {
	out, base := make([]byte, width), big.NewInt(62)
	n = new(big.Int).Set(n)
	for i := width - 1; i >= 0; i-- {
		var digit big.Int
		n.DivMod(n, base, &digit)
		out[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit.Int64()]
	}
	return string(out)
}

func newToken(secret [32]byte) string {
	body := "sk-pool-" + base62(new(big.Int).SetBytes(secret[:]), 43)
	return body + base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), 6)
}

func TestTheFormatIsFixed(t *testing.T) {
	// The control plane makes tokens and shares no code with this package: these three must never change.
	ones := [32]byte{}
	for i := range ones {
		ones[i] = 0xff
	}
	for _, row := range []struct {
		secret [32]byte
		want   string
	}{
		{[32]byte{}, "sk-pool-0000000000000000000000000000000000000000000334Nip"},
		{[32]byte{31: 61}, "sk-pool-000000000000000000000000000000000000000000z0t7XmD"},
		{ones, "sk-pool-yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10Eo3a3"},
	} {
		got := newToken(row.secret)
		if got != row.want || len(got) != 57 || !WellFormed(got) {
			t.Errorf("got %s (well-formed: %v), want %s", got, WellFormed(got), row.want)
		}
	}
}

func TestWellFormed(t *testing.T) {
	var secret [32]byte
	rand.Read(secret[:])
	good := newToken(secret)
	for _, row := range []struct {
		why, token string
		want       bool
	}{
		{"a token of the pool", good, true},
		{"one cut short", good[:56], false},
		{"one too long", good + "0", false},
		{"one with a wrong sum", good[:51] + "000000", false},
		{"one with a character that is no digit", good[:20] + "_" + good[21:], false},
		{"only the prefix", "sk-pool-", false},
		{"a carried-over token", "sk-0123456789abcdefghi", true},
		{"a carried-over token that is too short", "sk-0123456789abcdefgh", false},
		{"a carried-over token with a space", "sk-0123456789 abcdefghi", false},
		{"a carried-over token of absurd length", "sk-" + strings.Repeat("a", 600), false},
		{"something else", "pk-0123456789abcdefghijk", false},
		{"nothing", "", false},
	} {
		if got := WellFormed(row.token); got != row.want {
			t.Errorf("%s: got %v", row.why, got)
		}
	}
	for i := range len(good) { // any one character mistyped
		for _, c := range []byte("0aZ") {
			if bad := good[:i] + string(c) + good[i+1:]; bad != good && strings.HasPrefix(bad, "sk-pool-") && WellFormed(bad) {
				t.Errorf("mistyped at %d and taken: %s", i, bad)
			}
		}
	}
}

func TestCredential(t *testing.T) {
	for _, row := range []struct {
		why    string
		header http.Header
		want   string
		err    error
	}{
		{"a bearer token", http.Header{"Authorization": {"Bearer t"}}, "t", nil},
		{"the scheme in any case", http.Header{"Authorization": {"bEARER   t "}}, "t", nil},
		{"an API key", http.Header{"X-Api-Key": {" t"}}, "t", nil},
		{"the same in both", http.Header{"Authorization": {"Bearer t"}, "X-Api-Key": {"t"}}, "t", nil},
		{"two that differ", http.Header{"Authorization": {"Bearer t"}, "X-Api-Key": {"u"}}, "", ErrAmbiguous},
		{"Authorization twice", http.Header{"Authorization": {"Bearer t", "Bearer t"}}, "", ErrAmbiguous},
		{"an API key twice", http.Header{"X-Api-Key": {"t", "u"}}, "", ErrAmbiguous},
		{"another scheme is for whoever is in front", http.Header{"Authorization": {"Basic x"}, "X-Api-Key": {"t"}}, "t", nil},
		{"another scheme alone", http.Header{"Authorization": {"Basic x"}}, "", ErrNoCredential},
		{"a scheme alone", http.Header{"Authorization": {"Bearer"}}, "", ErrNoCredential},
		{"nothing", http.Header{}, "", ErrNoCredential},
	} {
		got, err := Credential(row.header)
		if got != row.want || !errors.Is(err, row.err) {
			t.Errorf("%s: got %q %v, want %q %v", row.why, got, err, row.want, row.err)
		}
	}
}

func FuzzCredential(f *testing.F) {
	f.Add("Bearer sk-pool-x", "", "")
	f.Add("bearer\tx", "x", "y")
	f.Add("Basic \x00", "\xff", " ")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for _, h := range []http.Header{
			{"Authorization": {a}}, {"Authorization": {a, b}}, {"X-Api-Key": {b}}, {"Authorization": {a}, "X-Api-Key": {c}},
		} {
			got, err := Credential(h)
			if (got == "") != (err != nil) {
				t.Errorf("%q: %q with %v", h, got, err)
			}
			if err == nil && !strings.Contains(a+"\n"+b+"\n"+c, got) {
				t.Errorf("%q: %q was not there", h, got)
			}
			WellFormed(got)
		}
	})
}

func TestAllows(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		why             string
		token           Token
		provider, model string
		want            error
	}{
		{"no limits", Token{}, "ollama", "m", nil},
		{"a provider that is listed", Token{Providers: []string{"a", "b"}}, "b", "m", nil},
		{"a provider that is not", Token{Providers: []string{"a"}}, "b", "m", ErrNotProvider},
		{"a model that matches", Token{Models: []string{"kimi*"}}, "a", "kimi-k2", nil},
		{"a model that does not", Token{Models: []string{"kimi*"}}, "a", "qwen", ErrNotModel},
		{"no model in particular", Token{Models: []string{"kimi*"}}, "a", "", nil},
		{"a moment before its end", Token{ExpireTime: now.Add(1)}, "a", "m", nil},
		{"at its end", Token{ExpireTime: now}, "a", "m", ErrExpired},
	} {
		if got := row.token.Allows(row.provider, row.model, now); !errors.Is(got, row.want) {
			t.Errorf("%s: got %v, want %v", row.why, got, row.want)
		}
	}
}

func token(id uint64, text string) *Token { return &Token{ID: id, Hash: Digest(text)} }

func (d *Directory) holds(t *testing.T, want map[string]uint64) {
	t.Helper()
	if d.Len() != len(want) {
		t.Errorf("holds %d, want %d", d.Len(), len(want))
	}
	for text, id := range want {
		if got, ok := d.Lookup(Digest(text)); !ok || got.ID != id {
			t.Errorf("%s: got %v %v, want %d", text, got, ok, id)
		}
	}
}

func TestDirectory(t *testing.T) {
	d := NewDirectory()
	d.Put(token(1, "a"))
	d.Put(token(2, "b"))
	d.holds(t, map[string]uint64{"a": 1, "b": 2})
	d.Put(token(1, "c")) // the same token with another digest
	d.holds(t, map[string]uint64{"c": 1, "b": 2})
	if _, ok := d.Lookup(Digest("a")); ok {
		t.Error("the old digest still finds it")
	}
	d.Put(token(3, "b")) // another token takes a digest over
	d.holds(t, map[string]uint64{"c": 1, "b": 3})
	d.Remove(2) // gone already: must not take the other one along
	d.Remove(9)
	d.holds(t, map[string]uint64{"c": 1, "b": 3})
	d.Keep(func(id uint64) bool { return id == 3 })
	d.holds(t, map[string]uint64{"b": 3})
}

func TestDirectoryIsSafeForConcurrentUse(t *testing.T) {
	d := NewDirectory()
	stays := token(1, "stays")
	d.Put(stays)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 500 {
				id := uint64(10 + i)
				d.Put(token(id, strings.Repeat("x", n%7+i)))
				d.Remove(id)
				if n%100 == 0 {
					d.Keep(func(id uint64) bool { return id == stays.ID })
				}
			}
		})
		all.Go(func() {
			for range 2000 {
				if _, ok := d.Lookup(stays.Hash); !ok {
					t.Error("a token that never left was not found")
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkLookup(b *testing.B) {
	d := NewDirectory()
	for i := range 100_000 {
		d.Put(token(uint64(i), string(rune(i))+"t"))
	}
	hash := Digest(string(rune(777)) + "t")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := d.Lookup(hash); !ok {
			b.Fatal("lost")
		}
	}
}
