package fakellm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxControlBody bounds what the control API reads, in bytes.
const maxControlBody = 64 << 20

// Control is the API that scripts a provider in another process. Serve it on a
// loopback listener of its own: it has no authentication and lists keys in clear.
//
//	PUT    /keys     a JSON object, key to Behaviour: sets these, keeps the others
//	DELETE /keys     a JSON array of keys: removes these; without a body, all
//	GET    /ledger   all entries, one line of JSON each; see ReadLedger
//	GET    /healthz  200, or 500 once a line of the ledger was lost
func (u *Upstream) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /keys", u.putKeys)
	mux.HandleFunc("DELETE /keys", u.deleteKeys)
	mux.HandleFunc("GET /ledger", u.getLedger)
	mux.HandleFunc("GET /healthz", u.healthz)
	return mux
}

func (u *Upstream) putKeys(w http.ResponseWriter, r *http.Request) {
	keys, err := ReadKeys(io.LimitReader(r.Body, maxControlBody))
	if err == nil {
		err = u.SetKeys(keys)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (u *Upstream) deleteKeys(w http.ResponseWriter, r *http.Request) {
	var secrets []string
	err := json.NewDecoder(io.LimitReader(r.Body, maxControlBody)).Decode(&secrets)
	switch {
	case errors.Is(err, io.EOF): // no body
		u.RemoveAllKeys()
	case err != nil:
		http.Error(w, "want a JSON array of keys, or no body to remove all", http.StatusBadRequest)
		return
	default:
		u.RemoveKey(secrets...)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (u *Upstream) getLedger(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for _, e := range u.Ledger() {
		if enc.Encode(e) != nil {
			// A clean end would pass for the whole ledger.
			panic(http.ErrAbortHandler)
		}
	}
}

func (u *Upstream) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := u.LedgerErr(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// ReadKeys reads a JSON object, key to Behaviour. SetKeys checks what it says.
func ReadKeys(r io.Reader) (map[string]Behaviour, error) {
	var keys map[string]Behaviour
	dec := json.NewDecoder(r)
	if err := dec.Decode(&keys); err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read keys: something follows the JSON object")
	}
	return keys, nil
}

// ReadLedger reads entries as GET /ledger and Config.Ledger write them. The last
// line may be torn if its writer was killed: then the entries before it come back
// with an error.
func ReadLedger(r io.Reader) ([]Entry, error) {
	var entries []Entry
	for dec := json.NewDecoder(r); ; {
		var e Entry
		err := dec.Decode(&e)
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return entries, fmt.Errorf("read ledger after entry %d: %w", len(entries), err)
		}
		entries = append(entries, e)
	}
}
