package jobs

import (
	"crypto/sha256"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
)

// Line is what is kept of one line of a text, or of one key of a list.
type Line struct {
	Number  int // from 1
	Key     pool.Secret
	Display string
	Label   string
	Fault   string // why it is invalid; empty: it is not
	digest  [32]byte
}

// Separator stands between the fields of a line, and in no key.
const Separator = "----"

// separators are what other tools put between keys. No provider's keys have them inside.
const separators = ",;|"

// ReadText reads the keys of a text. One line is one key; blank lines are passed over, all others are answered. Nothing else
// separates keys: a line with spaces, commas or the like in it is one bad key, never several good ones, and never one made of
// several.
func ReadText(content string) []Line {
	var lines []Line
	number := 0
	for text := range strings.Lines(strings.TrimPrefix(content, "\ufeff")) {
		number++
		if text = strings.TrimSpace(text); text != "" {
			lines = append(lines, readLine(number, text))
		}
	}
	return lines
}

// readLine reads one line. Whatever the format, the key is the last field.
func readLine(number int, text string) Line {
	fields := strings.Split(text, Separator)
	for i, f := range fields {
		fields[i] = strings.TrimSpace(f)
	}
	first, last := fields[0], fields[len(fields)-1]
	switch len(fields) {
	case 1:
		return newLine(number, "", last)
	case 2:
		return newLine(number, first, last)
	case 4, 5:
		if !isAddress(first) && last != "" {
			return Line{Number: number, Fault: LooksSwapped}
		}
		return newLine(number, first, last)
	default:
		return Line{Number: number, Fault: WrongFields}
	}
}

// ReadList reads a list of keys.
func ReadList(keys []string) []Line {
	lines := make([]Line, len(keys))
	for i, k := range keys {
		lines[i] = newLine(i+1, "", strings.TrimSpace(k))
		if strings.Contains(k, Separator) {
			lines[i] = Line{Number: i + 1, Fault: BadKey}
		}
	}
	return lines
}

func newLine(number int, label, key string) Line {
	l := Line{Number: number}
	switch {
	case key == "":
		l.Fault = NoKey
	case isAddress(key) || looksLikeKey(label):
		l.Fault = LooksSwapped // neither may be shown: one of them is a secret in the wrong place
	case !pool.IsSecret(key) || strings.ContainsAny(key, separators):
		l.Fault = BadKey
	case !pool.IsLabel(label):
		l.Fault = BadLabel
	default:
		l.Key, l.Display, l.Label = pool.NewSecret(key), pool.Display(key), label
		l.digest = sha256.Sum256([]byte(key))
	}
	return l
}

func isAddress(s string) bool { return strings.Contains(s, "@") }

// looksLikeKey says whether what should be a name is rather a key: labels are shown.
func looksLikeKey(label string) bool {
	const long = 32
	return strings.HasPrefix(label, "sk-") || strings.HasPrefix(label, "ollama-") ||
		len(label) >= long && !strings.ContainsAny(label, "@ ") && strings.ContainsAny(label, "0123456789")
}
