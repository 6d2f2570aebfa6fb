package probe

import (
	"slices"
	"strings"
)

// mixed is the category of a list of which no family makes up half.
const mixed = "mixed"

// families are the categories, each with the words by which its models' names are known. The order decides which family a
// name of two belongs to, and which is tried first where trying costs a token.
var families = []struct {
	name  string
	words []string
}{
	{"kimi", []string{"kimi", "moonshot"}},
	{"qwen", []string{"qwen", "qwq", "qvq"}},
	{"deepseek", []string{"deepseek"}},
	{"glm", []string{"glm", "zai-"}},
	{"minimax", []string{"minimax", "abab"}},
	{"llama", []string{"llama"}},
	{"gpt-oss", []string{"gpt-oss"}},
	{"gpt", []string{"gpt", "o1-", "o3-", "o4-", "chatgpt"}},
	{"claude", []string{"claude"}},
	{"gemini", []string{"gemini"}},
	{"gemma", []string{"gemma"}},
	{"mistral", []string{"mistral", "mixtral", "magistral", "ministral", "devstral", "codestral", "pixtral"}},
	{"grok", []string{"grok"}},
	{"nemotron", []string{"nemotron"}},
	{"phi", []string{"phi-", "phi3", "phi4"}},
	{"command", []string{"command-"}},
}

// otherFamily is that of a name that none of the words is in.
const otherFamily = "other"

// Family answers the family that a model's name tells. The vendor before a slash counts for nothing: meta-llama serves
// others' models too.
func Family(model string) string {
	name := strings.ToLower(model[strings.LastIndexByte(model, '/')+1:])
	for _, f := range families {
		if slices.ContainsFunc(f.words, func(w string) bool { return strings.Contains(name, w) }) {
			return f.name
		}
	}
	return otherFamily
}

// categoryOf answers the family that makes up at least half of the models; empty if there are none.
func categoryOf(models []string) string {
	if len(models) == 0 {
		return ""
	}
	counts := map[string]int{}
	for _, m := range models {
		counts[Family(m)]++
	}
	for family, n := range counts {
		if 2*n > len(models) {
			return family
		}
	}
	for _, f := range families { // exactly half: two of them at most
		if 2*counts[f.name] == len(models) {
			return f.name
		}
	}
	return mixed
}

// oneOfEach answers one model of each of the first families that are on offer, at most limit. Of a family it takes one that
// costs nothing, if its name says so, else the first.
func oneOfEach(models []string, limit int) []string {
	best := map[string]string{}
	for _, m := range models {
		family := Family(m)
		if _, have := best[family]; !have || isFree(m) && !isFree(best[family]) {
			best[family] = m
		}
	}
	var list []string
	for _, f := range families {
		if m, ok := best[f.name]; ok {
			list = append(list, m)
		}
	}
	if m, ok := best[otherFamily]; ok {
		list = append(list, m)
	}
	return list[:min(len(list), limit)]
}

func isFree(model string) bool { return strings.HasSuffix(model, ":free") }
