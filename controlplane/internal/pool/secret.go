package pool

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

const redacted = "[secret]"

// Secret holds a value that must never be printed. The value lives in a closure, because fmt walks unexported fields and
// pointers under bad verbs but cannot look into a func; every way of printing it says "[secret]".
type Secret struct{ reveal func() string }

// NewSecret wraps value. The empty value is the zero Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return value }}
}

// Reveal answers the value. Its call sites are counted by a test: each new one needs a reason.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero says whether there is no value.
func (s Secret) IsZero() bool { return s.reveal == nil }

// String never answers the value.
func (Secret) String() string { return redacted }

// GoString never answers the value.
func (Secret) GoString() string { return redacted }

// Format never writes the value, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue never answers the value.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText never answers the value; encoding/json uses it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Display answers what people may see of a secret: of one of 24 characters or more the first four and the last four,
// of a shorter one nothing.
func Display(secret string) string {
	const head, tail, enough = 4, 4, 24
	if len(secret) < enough {
		return "…"
	}
	return secret[:head] + "…" + secret[len(secret)-tail:]
}

// The bounds of what can be a key and a label, in characters.
const (
	MinSecret = 8
	MaxSecret = 512
	MaxLabel  = 200
)

// IsSecret says whether the text can be a key: 8 to 512 visible ASCII characters.
func IsSecret(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(text) >= MinSecret && len(text) <= MaxSecret
}

// IsLabel says whether the text can be a key's label: it breaks no log line or terminal, and has none show another text.
func IsLabel(text string) bool {
	return utf8.ValidString(text) && utf8.RuneCountInString(text) <= MaxLabel && !strings.ContainsFunc(text, Steers)
}

// Steers says whether a character steers how others are shown.
func Steers(c rune) bool {
	return unicode.IsControl(c) || unicode.In(c, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
}
