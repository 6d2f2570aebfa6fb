package stats

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"ollama-api-pool/controlplane/internal/pool"
)

// Names come from nodes, and with some providers from clients, so their number and form are bounded. What is beyond a
// bound is counted under "other": no total ever leaves anything out.
const (
	other           = "other"
	maxModels       = 2000 // over all providers, "other" aside
	maxProviders    = 1000
	maxModelName    = 200 // bytes
	maxProviderName = 63
)

type modelName struct {
	provider pool.ProviderID
	model    string
}

// names are the names that have rows of their own, or will have with the open tick.
type names struct {
	providers map[pool.ProviderID]struct{}
	models    map[modelName]struct{}
}

func newNames() names {
	return names{map[pool.ProviderID]struct{}{}, map[modelName]struct{}{}}
}

// provider answers the name under which a provider is counted.
func (n names) provider(p pool.ProviderID) pool.ProviderID {
	if _, known := n.providers[p]; known {
		return p
	}
	if p == other || len(n.providers) >= maxProviders || !goodProvider(p) {
		return other
	}
	n.providers[p] = struct{}{}
	return p
}

// model answers the name under which a model is counted. The empty name is one: the request named no model.
func (n names) model(p pool.ProviderID, model string) modelName {
	m := modelName{p, model}
	if _, known := n.models[m]; known {
		return m
	}
	if model == other || len(n.models) >= maxModels || !goodModel(model) {
		return modelName{p, other}
	}
	n.models[m] = struct{}{}
	return m
}

func goodProvider(p pool.ProviderID) bool {
	bad := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	return p != "" && len(p) <= maxProviderName && !strings.ContainsFunc(string(p), bad)
}

func goodModel(name string) bool {
	bad := func(r rune) bool { return !unicode.IsPrint(r) }
	return len(name) <= maxModelName && utf8.ValidString(name) && !strings.ContainsFunc(name, bad)
}
