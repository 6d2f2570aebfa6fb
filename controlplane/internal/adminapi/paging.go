package adminapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

const defaultPage = 100

func pageSize(asked int32) int {
	if asked == 0 {
		return defaultPage
	}
	return int(asked)
}

// filterDigest marks a page token with what it is a page of: with another filter, the next page would make no sense.
func filterDigest(filter ...string) [8]byte {
	sum := sha256.Sum256([]byte(strings.Join(filter, "\x00")))
	return [8]byte(sum[:8])
}

// writePage makes the token of the page after the given numbers, which say where the last entry stands in the order.
func writePage(filter [8]byte, last ...uint64) string {
	b := filter[:]
	for _, n := range last {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readPage reads what writePage wrote; an empty token is the first page, after zeros.
func readPage(token string, filter [8]byte, last ...*uint64) error {
	if token == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != len(filter)+8*len(last) || [8]byte(b[:8]) != filter {
		return invalid("pageToken", "is not one of this list with these filters: begin without it")
	}
	for i, n := range last {
		*n = binary.BigEndian.Uint64(b[8+8*i:])
	}
	return nil
}
