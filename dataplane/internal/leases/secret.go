package leases

import (
	"fmt"
	"io"
	"log/slog"
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
