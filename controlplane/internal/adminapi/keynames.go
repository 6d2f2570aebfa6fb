package adminapi

import (
	"errors"
	"fmt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

// named is one way in which a request names a key.
type named struct {
	field  string // as in the request, for errors
	id     string
	secret string // if it names the key itself
}

// names gathers all ways in which a request names keys; they add up.
func names(secret, id string, ids, secrets []string) []named {
	var all []named
	if secret != "" {
		all = append(all, named{field: "apiKey", secret: secret})
	}
	if id != "" {
		all = append(all, named{field: "id", id: id})
	}
	for i, id := range ids {
		all = append(all, named{field: fmt.Sprintf("ids[%d]", i), id: id})
	}
	for i, secret := range secrets {
		all = append(all, named{field: fmt.Sprintf("apiKeys[%d]", i), secret: secret})
	}
	return all
}

func namesNone(fields string) error {
	return invalid("", "name at least one key: "+fields)
}

// resolve answers the keys that are named, each once, in the order of their names, and the names without a key. A key of
// another provider than the wanted one is none.
func resolve(tx *store.Tx, all []named, provider pool.ProviderID) (keys []pool.Key, missing []named, err error) {
	seen := map[pool.KeyID]bool{}
	absent := map[named]bool{}
	for _, n := range all {
		k, err := n.find(tx, provider)
		switch same := (named{id: n.id, secret: n.secret}); {
		case errors.Is(err, store.ErrNotFound):
			if !absent[same] {
				absent[same] = true
				missing = append(missing, n)
			}
		case err != nil:
			return nil, nil, err
		case !seen[k.ID]:
			seen[k.ID] = true
			keys = append(keys, k)
		}
	}
	return keys, missing, nil
}

func (n named) find(tx *store.Tx, provider pool.ProviderID) (pool.Key, error) {
	id, err := pool.ParseKeyID(n.id)
	known := err == nil
	if n.secret != "" {
		id, known = tx.KeyBySecret(pool.NewSecret(n.secret))
	}
	if !known {
		return pool.Key{}, store.ErrNotFound
	}
	k, err := tx.Key(id)
	if err == nil && provider != "" && k.Provider != provider {
		return pool.Key{}, store.ErrNotFound
	}
	return k, err
}

// keyNamed answers the key with this id, unless it belongs to another provider than the one that is named, if any.
func (a *API) keyNamed(id string, provider pool.ProviderID) (pool.KeyView, bool) {
	parsed, err := pool.ParseKeyID(id)
	if err != nil {
		return pool.KeyView{}, false
	}
	v, ok := a.pool.KeyView(parsed)
	return v, ok && (provider == "" || v.Key.Provider == provider)
}
