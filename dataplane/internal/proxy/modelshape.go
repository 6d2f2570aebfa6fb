package proxy

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

// listedModel is what is read of a model in either kind of list.
type listedModel struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Model   string `json:"model"`
	Created int64  `json:"created"`
}

func (m listedModel) id() string { return cmp.Or(m.ID, m.Model, m.Name) }

// models answers the members of a list, as they stand.
func models(list []byte, member string) []json.RawMessage {
	var all map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(list, &all) != nil || json.Unmarshal(all[member], &items) != nil {
		return nil
	}
	return items
}

// withAliases is the list with the names besides that clients may use. Each is described as the model that it stands for; a
// model whose own name is an alias for another cannot be reached, and so is not listed as itself.
func withAliases(list []byte, member string, aliases map[string]string) []byte {
	if len(aliases) == 0 {
		return list
	}
	all, kept := map[string]json.RawMessage{}, []json.RawMessage{}
	for _, raw := range models(list, member) {
		var m listedModel
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		all[m.id()] = raw
		if _, hidden := aliases[m.id()]; !hidden {
			kept = append(kept, raw)
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(aliases)) {
		kept = append(kept, renamed(all[aliases[alias]], member, alias))
	}
	var whole map[string]json.RawMessage
	if json.Unmarshal(list, &whole) != nil {
		return list
	}
	whole[member] = encode(kept)
	return encode(whole)
}

// renamed is a model of a list under another name; nil is one that is not listed.
func renamed(raw json.RawMessage, member, name string) json.RawMessage {
	m := map[string]json.RawMessage{}
	if raw == nil || json.Unmarshal(raw, &m) != nil {
		m = map[string]json.RawMessage{"object": json.RawMessage(`"model"`), "created": json.RawMessage("0"), "owned_by": json.RawMessage(`"pool"`)}
		if member == "models" {
			m = map[string]json.RawMessage{"modified_at": json.RawMessage(`"1970-01-01T00:00:00Z"`), "size": json.RawMessage("0"), "details": json.RawMessage("{}")}
		}
	}
	if member == "models" {
		m["name"], m["model"] = encode(name), encode(name)
	} else {
		m["id"] = encode(name)
	}
	return encode(m)
}

// only is the list without the models that a token may not use.
func only(list []byte, member string, patterns []string) []byte {
	kept := []json.RawMessage{}
	for _, raw := range models(list, member) {
		var m listedModel
		if json.Unmarshal(raw, &m) == nil && provider.MatchModel(patterns, m.id()) {
			kept = append(kept, raw)
		}
	}
	if member == "models" {
		return encode(map[string]any{"models": kept})
	}
	return encode(struct {
		Object string            `json:"object"`
		Data   []json.RawMessage `json:"data"`
	}{"list", kept})
}

// listed answers the model of an OpenAI list that has this id; nil: there is none.
func listed(list []byte, id string) []byte {
	for _, raw := range models(list, "data") {
		var m listedModel
		if json.Unmarshal(raw, &m) == nil && m.ID == id {
			return raw
		}
	}
	return nil
}

// asTags is an OpenAI list as Ollama would write it. What only a machine with the model on it can know is left empty.
func asTags(list []byte) []byte {
	type tag struct {
		Name       string   `json:"name"`
		Model      string   `json:"model"`
		ModifiedAt string   `json:"modified_at"`
		Size       int64    `json:"size"`
		Digest     string   `json:"digest"`
		Details    struct{} `json:"details"`
	}
	tags := []tag{}
	for _, raw := range models(list, "data") {
		var m listedModel
		if json.Unmarshal(raw, &m) == nil {
			tags = append(tags, tag{Name: m.ID, Model: m.ID, ModifiedAt: time.Unix(m.Created, 0).UTC().Format(time.RFC3339)})
		}
	}
	return encode(map[string]any{"models": tags})
}
