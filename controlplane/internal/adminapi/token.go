package adminapi

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

// A client token is a prefix that secret scanners know, 256 random bits, and a checksum of both that lets a scanner or a
// data plane tell a token from a typing error without asking anyone.
const (
	clientTokenPrefix = "sk-pool-"
	randomDigits      = 43 // base62 digits of 32 bytes
	checksumDigits    = 6  // base62 digits of 4 bytes
	base62            = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// clientToken is a token that was just drawn. Only hash and display are kept.
type clientToken struct {
	secret  string
	hash    [32]byte
	display string
}

func newClientToken() clientToken {
	var random [32]byte
	rand.Read(random[:]) // never fails: see crypto/rand
	return clientTokenOf(random)
}

func clientTokenOf(random [32]byte) clientToken {
	body := clientTokenPrefix + encodeBase62(random[:], randomDigits)
	secret := body + checksum(body)
	return clientToken{
		secret: secret, hash: sha256.Sum256([]byte(secret)), display: clientTokenPrefix + "…" + secret[len(secret)-4:],
	}
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	return encodeBase62([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}, checksumDigits)
}

// isClientToken says whether the text could have been made here.
func isClientToken(s string) bool {
	at := len(s) - checksumDigits
	return at == len(clientTokenPrefix)+randomDigits && s[at:] == checksum(s[:at])
}

// encodeBase62 writes a big-endian number with leading zeros.
func encodeBase62(number []byte, digits int) string {
	n := new(big.Int).SetBytes(number)
	base, digit := big.NewInt(int64(len(base62))), new(big.Int)
	out := []byte(strings.Repeat(base62[:1], digits))
	for i := digits - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}
