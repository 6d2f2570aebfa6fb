package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrNoModels tells that an upstream's answer is no list of models.
var ErrNoModels = errors.New("not a list of models")

// upstreamModel is a model in any of the three lists. The numbers are read
// leniently: a list is not worth losing over one.
type upstreamModel struct {
	ID            string          `json:"id"`
	Name          string          `json:"name"`
	Model         string          `json:"model"`
	Created       json.RawMessage `json:"created"`
	ModifiedAt    string          `json:"modified_at"`
	OwnedBy       string          `json:"owned_by"`
	ContextLength json.RawMessage `json:"context_length"`
}

// listedModel is a model as OpenAI lists it; the last two are what OpenRouter's clients look for besides.
type listedModel struct {
	ID            string `json:"id"`
	Object        string `json:"object"`
	Created       int64  `json:"created"`
	OwnedBy       string `json:"owned_by"`
	Name          string `json:"name,omitempty"`
	ContextLength int64  `json:"context_length,omitempty"`
}

// listModels reads {"data":[…]} as OpenAI and OpenRouter say it and {"models":[…]} as Ollama does.
func listModels(body []byte, owner string) ([]byte, error) {
	var said struct {
		Data   []upstreamModel `json:"data"`
		Models []upstreamModel `json:"models"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoModels, err)
	}
	if said.Data == nil && said.Models == nil {
		return nil, ErrNoModels
	}
	list := struct {
		Object string        `json:"object"`
		Data   []listedModel `json:"data"`
	}{Object: "list", Data: []listedModel{}}
	for _, m := range append(said.Data, said.Models...) {
		if l := m.listed(owner); l.ID != "" {
			list.Data = append(list.Data, l)
		}
	}
	return json.Marshal(list)
}

func (m upstreamModel) listed(owner string) listedModel {
	l := listedModel{ID: m.ID, Object: "model", OwnedBy: m.OwnedBy}
	if l.ID == "" { // Ollama's own list
		if l.ID = m.Model; l.ID == "" {
			l.ID = m.Name
		}
	} else if m.Name != m.ID {
		l.Name = m.Name
	}
	if author, _, ok := strings.Cut(l.ID, "/"); ok && l.OwnedBy == "" {
		l.OwnedBy = author
	} else if l.OwnedBy == "" {
		l.OwnedBy = owner
	}
	l.Created, l.ContextLength = number(m.Created), number(m.ContextLength)
	if t, err := time.Parse(time.RFC3339, m.ModifiedAt); err == nil {
		l.Created = t.Unix()
	}
	return l
}

func number(raw json.RawMessage) int64 {
	n, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || n < 0 || n > 1<<53 {
		return 0
	}
	return int64(n)
}
