package proxy

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMessage bounds what of an upstream's words reaches a client.
const maxMessage = 1 << 10

// What looks like something that must not be told. Host names only with the endings that real ones have, because
// "messages.0.content" is a path that a developer needs to see.
var (
	looksURL  = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s"'<>]+`)
	looksHost = regexp.MustCompile(`(?i)\b(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?:com|net|org|io|ai|dev|app|cloud|internal|local|localdomain|svc|corp|lan|home)\b(?::\d+)?(?:/[^\s"'<>]*)?`)
	looksIP   = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[?(?:[0-9a-fA-F]{1,4}:){3,7}[0-9a-fA-F:]*\]?`)
	looksPort = regexp.MustCompile(`\[host\]:\d+`)
	looksMail = regexp.MustCompile(`[\w.+-]+@[\w-]+(?:\.[\w-]+)+`)
	looksKey  = regexp.MustCompile(`(?i)\b(?:bearer\s+\S{6,}|(?:sk|pk|rk|gsk|xai|key|api|org|proj|user)[-_][\w*.-]{8,}|AIza[\w-]{10,})`)
	looksRand = regexp.MustCompile(`[\w*-]{24,}(?:\.[\w-]+)*`)
)

// redact makes an upstream's words fit for a client: without keys, addresses and control characters, at most 1 KiB. secret
// is the key that was used, of which no eight characters in a row may pass; host is the upstream's; keep is the model's
// name, which may look like a key and is not.
func redact(message, secret, host, keep string) string {
	if len(message) > 4*maxMessage {
		message = message[:4*maxMessage]
	}
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, message)
	message = withoutSecret(message, secret)
	if host != "" {
		message = strings.ReplaceAll(message, host, "[host]")
	}
	message = strings.ToValidUTF8(message, " ") // a cut through a character, by a secret or host that is no text
	for _, rule := range [...]struct {
		looks *regexp.Regexp
		says  string
	}{
		{looksPort, "[host]"},
		{looksURL, "[url]"},
		{looksMail, "[address]"},
		{looksHost, "[host]"},
		{looksIP, "[address]"},
		{looksKey, "[redacted]"},
		{looksRand, "[redacted]"},
	} {
		message = rule.looks.ReplaceAllStringFunc(message, func(found string) string {
			if keep != "" && strings.Contains(keep, found) || rule.says == "[redacted]" && !hasNumber(found) {
				return found
			}
			return rule.says
		})
	}
	return strings.TrimSpace(cut(message, maxMessage))
}

// hasNumber tells keys, even masked ones, from long words.
func hasNumber(s string) bool { return strings.ContainsAny(s, "0123456789*") }

// secretWindow is how many characters of a key in a row are too many.
const secretWindow = 8

// withoutSecret removes every stretch of the message that is also one of the secret.
func withoutSecret(message, secret string) string {
	if len(secret) < secretWindow {
		if secret == "" {
			return message
		}
		return strings.ReplaceAll(message, secret, "[redacted]")
	}
	var out strings.Builder
	for i := 0; i < len(message); {
		n := 0
		for end := i + secretWindow; end <= len(message) && strings.Contains(secret, message[i:end]); end++ {
			n = end - i
		}
		if n == 0 {
			out.WriteByte(message[i])
			i++
			continue
		}
		out.WriteString("[redacted]")
		i += n
	}
	return out.String()
}

// holds says whether an answer has the key in it. Whoever reflects what was sent is no upstream to pass on.
func holds(answer, secret []byte) bool {
	return len(secret) >= secretWindow && bytes.Contains(answer, secret)
}

// cut shortens s to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// forLog makes a client's string fit for a log line.
func forLog(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, cut(s, 100))
	return looksKey.ReplaceAllStringFunc(s, func(found string) string {
		if !hasNumber(found) {
			return found
		}
		return "[redacted]"
	})
}
