package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// Models is what a key serves.
type Models struct {
	Names    []string // as the upstream writes them
	Category string   // their family; empty: nothing was learnt
}

const listAge = 5 * time.Minute // for how long a public list is good

// list asks the upstream for its models; nil: it did not say. What its answer says of the key counts too: some upstreams
// look at a body before they look at the key, and take the check of a bad one for a bad request.
func (p *Prober) list(ctx context.Context, up *upstream, key pool.Secret) (names []string, a Answer, err error) {
	q := question{method: http.MethodGet, path: up.dialect.listPath, time: listTime, limit: maxList}
	a, err = p.ask(ctx, up, q, key, func(status int, h http.Header, body []byte) Answer {
		if status == http.StatusOK {
			names = readList(body)
		}
		return up.dialect.judgeChat(status, h, body, p.now())
	})
	return names, a, err
}

// publicList answers the list that the upstream shows to everybody, asking for it once in a while.
func (p *Prober) publicList(ctx context.Context, up *upstream, key pool.Secret) ([]string, error) {
	up.listing.Lock()
	defer up.listing.Unlock()
	if up.names != nil && p.now().Sub(up.listed) < listAge {
		return up.names, nil
	}
	names, _, err := p.list(ctx, up, key)
	if names != nil {
		up.names, up.listed = names, p.now()
	}
	return names, err
}

const maxName = 200 // bytes of a model's name that is believed

// readList reads {"data":[{"id"}]} as OpenAI and OpenRouter say it, and {"models":[{"model" or "name"}]} as Ollama does.
func readList(body []byte) []string {
	type model struct{ ID, Model, Name string }
	var said struct{ Data, Models []model }
	if json.Unmarshal(body, &said) != nil {
		return nil
	}
	names := []string{}
	for _, m := range append(said.Data, said.Models...) {
		if name := cmp.Or(m.ID, m.Model, m.Name); name != "" && len(name) <= maxName {
			names = append(names, name)
		}
	}
	return names
}
