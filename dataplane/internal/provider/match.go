package provider

import "unicode/utf8"

// MatchModel says whether one of the patterns stands for the model; no patterns stand for every model, and an empty model is
// no model in particular, which all stand for. In a pattern * is any text, slashes too, and ? is any one character;
// everything else is itself, so that no pattern is malformed.
func MatchModel(patterns []string, model string) bool {
	if len(patterns) == 0 || model == "" {
		return true
	}
	for _, p := range patterns {
		if p == model || match(p, model) {
			return true
		}
	}
	return false
}

// match goes back to the last * only, which is enough: an earlier one could take nothing that the last cannot.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, size := utf8.DecodeRuneInString(s[i:])
			p++
			i += size
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(s[from:])
			from += size
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
