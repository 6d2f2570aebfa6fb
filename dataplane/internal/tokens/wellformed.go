package tokens

import (
	"crypto/sha256"
	"hash/crc32"
	"strings"
)

const (
	anyPrefix   = "sk-"
	ourPrefix   = "sk-pool-"
	randomChars = 43
	crcChars    = 6
	ourLength   = len(ourPrefix) + randomChars + crcChars
	minLength   = 22
	maxLength   = 512

	digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// WellFormed says whether the text can be a token at all. What cannot is refused without looking it up, and even while
// nobody knows which tokens are good.
func WellFormed(token string) bool {
	if strings.HasPrefix(token, ourPrefix) {
		return ours(token)
	}
	return strings.HasPrefix(token, anyPrefix) && len(token) >= minLength && len(token) <= maxLength && visible(token)
}

func ours(token string) bool {
	if len(token) != ourLength {
		return false
	}
	for _, c := range []byte(token[len(ourPrefix):]) {
		if strings.IndexByte(digits, c) < 0 {
			return false
		}
	}
	body, sum := token[:ourLength-crcChars], token[ourLength-crcChars:]
	n := crc32.ChecksumIEEE([]byte(body))
	for i := crcChars - 1; i >= 0; i-- {
		if sum[i] != digits[n%62] {
			return false
		}
		n /= 62
	}
	return true
}

func visible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// Digest is what a token is looked up by.
func Digest(token string) [32]byte { return sha256.Sum256([]byte(token)) }
