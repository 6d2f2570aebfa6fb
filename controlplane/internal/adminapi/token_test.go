package adminapi

import (
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"regexp"
	"testing"
)

func TestClientToken(t *testing.T) {
	shape := regexp.MustCompile(`^sk-pool-[0-9A-Za-z]{49}$`)
	seen := map[string]bool{}
	for range 1000 {
		tok := newClientToken()
		if !shape.MatchString(tok.secret) || seen[tok.secret] {
			t.Fatalf("a token has %d characters, is repeated or not base62", len(tok.secret))
		}
		seen[tok.secret] = true
		if tok.hash != sha256.Sum256([]byte(tok.secret)) {
			t.Fatal("the digest is not that of the whole token")
		}
		if want := "sk-pool-…" + tok.secret[len(tok.secret)-4:]; tok.display != want {
			t.Fatalf("display is %q, want %q", tok.display, want)
		}
		body, sum := tok.secret[:51], tok.secret[51:]
		if got := decodeBase62(t, sum); got.Uint64() != uint64(crc32.ChecksumIEEE([]byte(body))) {
			t.Fatal("the checksum is not that of all that goes before it")
		}
	}
}

// The form is a promise to secret scanners and to the data planes: these values, worked out by another program, may not
// change.
func TestClientTokenVectors(t *testing.T) {
	var zeros, ones, counting [32]byte
	for i := range 32 {
		ones[i], counting[i] = 0xff, byte(i)
	}
	for _, row := range []struct {
		random [32]byte
		want   string
	}{
		{zeros, "sk-pool-0000000000000000000000000000000000000000000334Nip"},
		{ones, "sk-pool-yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10Eo3a3"},
		{counting, "sk-pool-003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2YSRb5"},
	} {
		if got := clientTokenOf(row.random).secret; got != row.want {
			t.Errorf("%x: got %s, want %s", row.random, got, row.want)
		}
	}
}

func decodeBase62(t *testing.T, s string) *big.Int {
	t.Helper()
	n := new(big.Int)
	for _, c := range []byte(s) {
		digit := -1
		for i := range len(base62) {
			if base62[i] == c {
				digit = i
			}
		}
		if digit < 0 {
			t.Fatalf("%q is no digit", c)
		}
		n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(digit)))
	}
	return n
}
