package provider

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// More of what upstreams say. Words that bench a key are looked for in the upstream's own words alone: it may quote the
// client, and no client may have words put into its mouth that bench a key.
var (
	modelWords = []string{
		"model_not_allowed", "model_access", "requires a subscription", "upgrade for access", "not have access to",
		"not allowed to use", "not allowed to access", "not available on your plan", "not included in your",
		"not have permission to use", "requires a paid", "upgrade your plan", "must be verified to use",
	}
	lostModelWords = []string{
		"model_not_found", "no endpoints found", "not a valid model", "unknown model", "no such model", "invalid_model",
	}
	// A request may ask for more than a key has left, or than its limit ever allows: which says nothing about the key. Held
	// against it, one client asking for a million tokens would bench the whole pool.
	tooDearWords  = []string{"fewer max_tokens", "can only afford", "prompt tokens limit exceeded"}
	tooLargeWords = []string{"request too large", "must be reduced in order to run", "required for long context"}
	tooLongWords  = []string{"context length", "context window", "context size", "prompt is too long", "prompt too long"}
	// Limits of what lies behind a key, which all keys share.
	sharedLimitWords = []string{"rate-limited upstream", "rate limited upstream", "engine_overloaded", "currently overloaded", "at capacity", "not your usage limit"}
)

// thenQuotes are words that a model's name may follow without a mark, and a client's model may have any name.
var thenQuotes = [...]string{" for ", "access to ", "model "}

// own answers what the upstream says itself: the beginning, up to where it may quote somebody.
func own(message string) string {
	for _, w := range thenQuotes {
		message, _, _ = strings.Cut(message, w)
	}
	for i, r := range message {
		switch r {
		case '"', '`', ':', '=', '{', '[', '<', '\n', '“', '”', '„', '«', '»', '‘':
			return message[:i]
		case '\'', '’':
			if !withinWord(message, i, utf8.RuneLen(r)) {
				return message[:i]
			}
		}
	}
	return message
}

// quotes are the marks that a quotation begins and ends with.
var quotes = [...][2]string{{`"`, `"`}, {"`", "`"}, {"“", "”"}, {"„", "“"}, {"«", "»"}, {"[", "]"}, {"{", "}"}, {"'", "'"}, {"‘", "’"}}

// unquotedWords is a message without anything between the first mark of a kind and the last: whoever is quoted may have put some
// in between. What is quoted and never ends goes to the end.
func unquotedWords(message string) string {
	for _, q := range quotes {
		first := mark(message, q[0], strings.Index)
		if first < 0 {
			continue
		}
		rest := ""
		if last := mark(message, q[1], strings.LastIndex); last > first {
			rest = message[last+len(q[1]):]
		}
		message = message[:first] + " " + rest
	}
	return message
}

// mark finds a quotation mark by a way to search; -1: there is none. An apostrophe is none.
func mark(message, what string, search func(s, substr string) int) int {
	masked := []byte(message)
	for {
		at := search(string(masked), what)
		if at < 0 || len(what) == 1 && what != "'" || !withinWord(message, at, len(what)) {
			return at
		}
		masked[at] = ' '
	}
}

// withinWord says whether the size bytes at i stand between letters, as an apostrophe does.
func withinWord(s string, i, size int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+size:])
	return unicode.IsLetter(before) && unicode.IsLetter(after)
}

// says tells whether the code, the type or the words hold one of the phrases, which must be in lower case.
func (b *errorBody) says(phrases ...string) bool { return b.anyOf(b.message, phrases) }

// itselfSays is as says, but for what the upstream may be quoting.
func (b *errorBody) itselfSays(phrases ...string) bool { return b.anyOf(own(b.message), phrases) }

func (b *errorBody) anyOf(message string, phrases []string) bool {
	text := strings.ToLower(b.code + "\n" + b.typ + "\n" + message)
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// rejectsKey tells whether the upstream itself says that the key, or its account, is not accepted any more.
func (b *errorBody) rejectsKey() bool {
	return b.itselfSays(keyWords...) || putOut.MatchString(strings.ToLower(own(b.message)))
}

// is tells whether the code or the type is one of the words.
func (b *errorBody) is(words ...string) bool {
	for _, w := range words {
		if strings.EqualFold(b.code, w) || strings.EqualFold(b.typ, w) {
			return true
		}
	}
	return false
}
