package adminapi

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"ollama-api-pool/controlplane/internal/jobs"
	"ollama-api-pool/controlplane/internal/pool"
)

const (
	maxList  = 100
	maxGlob  = 200
	maxLabel = pool.MaxLabel
	maxNote  = 500
	maxGroup = 100
)

var (
	providerID = regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}$`)
	region     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	// reservedIDs are paths of the data planes, where a provider's id is a path too.
	reservedIDs = map[string]bool{
		"v1": true, "api": true, "admin": true, "health": true, "healthz": true, "readyz": true, "metrics": true,
		"debug": true, "stats": true, "login": true,
	}
)

// checkSecret takes a key as it is: nothing is trimmed silently, because what was stored would then not be what was sent.
func checkSecret(secret string) *refusal {
	if strings.TrimSpace(secret) != secret {
		return invalid("apiKey", "has white space at its beginning or end")
	}
	if len(secret) < pool.MinSecret || len(secret) > pool.MaxSecret {
		return invalid("apiKey", fmt.Sprintf("must have %d to %d characters", pool.MinSecret, pool.MaxSecret))
	}
	if !pool.IsSecret(secret) {
		return invalid("apiKey", "must be made of visible ASCII characters")
	}
	if strings.Contains(secret, jobs.Separator) { // it would go to the upstream with the password in it
		return invalid("apiKey", "is a whole line: send its last field only, or import the line")
	}
	return nil
}

// checkText refuses what would break a log line or a terminal, or have it show another text.
func checkText(field, text string, limit int) *refusal {
	if utf8.RuneCountInString(text) > limit {
		return invalid(field, fmt.Sprintf("must have at most %d characters", limit))
	}
	if strings.ContainsFunc(text, pool.Steers) {
		return invalid(field, "holds a control character")
	}
	return nil
}

// checkTrimmed refuses a name that would look like another one.
func checkTrimmed(field, text string) *refusal {
	if strings.TrimSpace(text) != text {
		return invalid(field, "has white space at its beginning or end")
	}
	return nil
}

func checkModels(models []string) *refusal {
	if len(models) > maxList {
		return invalid("models", fmt.Sprintf("may hold at most %d", maxList))
	}
	for i, m := range models {
		if m == "" || utf8.RuneCountInString(m) > maxGlob || strings.ContainsFunc(m, notVisible) {
			return invalid(fmt.Sprintf("models[%d]", i), fmt.Sprintf("must be 1 to %d visible characters", maxGlob))
		}
	}
	return nil
}

func notVisible(c rune) bool { return unicode.IsSpace(c) || pool.Steers(c) }

func checkRegions(regions []string) *refusal {
	if len(regions) > maxList {
		return invalid("regions", fmt.Sprintf("may hold at most %d", maxList))
	}
	for i, r := range regions {
		if !region.MatchString(r) {
			return invalid(fmt.Sprintf("regions[%d]", i), "must be made of letters, digits, '.', '_' and '-', at most 63")
		}
	}
	return nil
}

func checkRange(field string, n, low, high int32) *refusal {
	if n < low || n > high {
		return invalid(field, fmt.Sprintf("must be from %d to %d", low, high))
	}
	return nil
}

// checkKey checks what an operator may say about a key, however it was said.
func checkKey(k pool.Key) *refusal {
	return firstOf(
		checkText("label", k.Label, maxLabel),
		checkTrimmed("group", k.Group),
		checkText("group", k.Group, maxGroup),
		checkModels(k.Models),
		checkRegions(k.Regions),
		checkRange("weight", int32(k.Weight), 1, 100),
		checkRange("priority", int32(k.Priority), 0, 100),
	)
}

func firstOf(refusals ...*refusal) *refusal {
	for _, r := range refusals {
		if r != nil {
			return r
		}
	}
	return nil
}
