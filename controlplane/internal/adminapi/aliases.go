package adminapi

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"ollama-api-pool/controlplane/internal/pool"
)

const maxAliases = 1000

// checkAliases checks what clients may call models. A refusal tells no name: each is a caller's text.
func checkAliases(aliases map[string]string) *refusal {
	if len(aliases) > maxAliases {
		return invalid("modelAliases", fmt.Sprintf("may hold at most %d", maxAliases))
	}
	for alias, model := range aliases {
		if !isModelName(alias) || !isModelName(model) {
			return invalid("modelAliases", fmt.Sprintf(
				"holds a name that is not 1 to %d characters, has a control character, or white space at its beginning or end", maxGlob))
		}
		if alias == model {
			return invalid("modelAliases", "holds an alias that points to itself")
		}
	}
	return nil
}

func isModelName(s string) bool {
	return s != "" && utf8.RuneCountInString(s) <= maxGlob && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, pool.Steers)
}
