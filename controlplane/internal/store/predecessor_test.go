package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/rest"
	"ollama-api-pool/controlplane/internal/store"
)

const rootToken = "root-CANARY-0123456789-abcdefghijkl"

// front is a store with everything above it that a caller meets.
type front struct {
	t     *testing.T
	store *store.Store
	pool  *pool.Pool
	http  http.Handler
}

// content is an upstream that finds every key good.
type content struct{}

func (content) Check(context.Context, pool.Provider, pool.Secret) (probe.Answer, error) {
	return probe.Answer{Finding: probe.Good}, nil
}

func (c content) Examine(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, probe.Models, error) {
	a, err := c.Check(ctx, of, key)
	return a, probe.Models{}, err
}

func newFront(t *testing.T) *front {
	t.Helper()
	o := store.Options{Dir: filepath.Join(t.TempDir(), "data"), Logger: slog.New(slog.DiscardHandler)}
	if err := store.Init(o); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, store: s, pool: pool.New(pool.Config{Start: time.Now(), Term: 1})}
	s.OnCommit(func(changes []pool.Change) { f.pool.Apply(time.Now(), changes) })
	if _, err := s.Update(t.Context(), func(tx *store.Tx) error { // as they are, so that the pool hears of them
		for p, err := range tx.Providers() {
			if err != nil {
				return err
			}
			if _, err := tx.PutProvider(p); err != nil {
				return err
			}
		}
		return tx.PutAdmin(store.Admin{Name: "root", Hash: sha256.Sum256([]byte(rootToken)), Role: "admin"})
	}); err != nil {
		t.Fatal(err)
	}
	api := adminapi.New(adminapi.Config{Store: s, Pool: f.pool, Prober: content{}})
	server, err := rest.New(t.Context(), rest.Config{Register: api.Register, Options: api.Options(), Admit: api.Admit, Open: api.Open()})
	if err != nil {
		t.Fatal(err)
	}
	f.http = server
	t.Cleanup(func() {
		server.Close()
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	})
	return f
}

func (f *front) as(token, method, target, body string) *httptest.ResponseRecorder {
	f.t.Helper()
	r := httptest.NewRequestWithContext(f.t.Context(), method, target, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	f.http.ServeHTTP(w, r)
	return w
}

func (f *front) call(method, target, body string) *httptest.ResponseRecorder {
	f.t.Helper()
	return f.as(rootToken, method, target, body)
}

// must is call for what has to work; into may be nil.
func (f *front) must(method, target, body string, into any) {
	f.t.Helper()
	w := f.call(method, target, body)
	if w.Code != 200 {
		f.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			f.t.Fatal(err)
		}
	}
}

// wantPutOff wants a 503 that says for how long and why.
func (f *front) wantPutOff(what string, w *httptest.ResponseRecorder, reason string) {
	f.t.Helper()
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"reason":"`+reason+`"`) {
		f.t.Errorf("%s: %d, Retry-After %q, %s, want 503 %s", what, w.Code, w.Header().Get("Retry-After"), w.Body, reason)
	}
}

// all is what there is.
func (f *front) all() string {
	f.t.Helper()
	var b strings.Builder
	for _, page := range []string{"/admin/api-keys", "/admin/tokens", "/admin/providers", "/admin/stats"} {
		w := f.call("GET", page, "")
		if w.Code != 200 {
			f.t.Fatalf("%s: %d %s", page, w.Code, w.Body)
		}
		b.WriteString(w.Body.String())
	}
	return b.String()
}

// report is what an import answers.
type report struct {
	Counts  map[string]int
	Results []struct{ Result, Reason string }
}

func text(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, `sk-CANARY-line-%08d\n`, n)
	}
	return b.String()
}

// Trouble of the store is told as trouble, to be tried again, and never as "there is no such thing": whatever is asked for
// while the disk is full, has failed, or the store is closed, is not forbidden, not unknown, and not done.
func TestPredecessor_B4(t *testing.T) {
	f := newFront(t)
	var key, gone struct{ APIKey struct{ ID string } }
	var token struct{ ClientToken struct{ ID string } }
	f.must("POST", "/admin/api-keys", `{"apiKey":"sk-CANARY-0123456789-here"}`, &key)
	f.must("POST", "/admin/api-keys", `{"apiKey":"sk-CANARY-0123456789-gone"}`, &gone)
	f.must("POST", "/admin/tokens", `{"name":"here"}`, &token)
	f.must("DELETE", "/admin/api-keys/"+gone.APIKey.ID, "", nil)
	id := key.APIKey.ID
	changes := []struct{ method, target, body string }{
		{"POST", "/admin/api-keys", `{"apiKey":"sk-CANARY-0123456789-next"}`},
		{"PATCH", "/admin/api-keys/" + id, `{"label":"x"}`},
		{"POST", "/admin/api-keys/" + gone.APIKey.ID + ":restore", ``},
		{"POST", "/admin/keys/disable", `{"id":"` + id + `","force":true}`},
		{"POST", "/admin/keys/enable", `{"id":"` + id + `"}`},
		{"POST", "/admin/tokens", `{"name":"next"}`},
		{"POST", "/admin/tokens", `{"name":"carried","token":"sk-0123456789ABCDEFGHIJcarried"}`},
		{"DELETE", "/admin/tokens", `{"id":"` + token.ClientToken.ID + `"}`},
		{"POST", "/admin/providers", `{"id":"mine","baseUrl":"https://mine.example","dialect":"openai"}`},
		{"PATCH", "/admin/providers/openrouter", `{"enabled":false}`},
		{"POST", "/admin/nodes/join-tokens", `{}`},
		{"DELETE", "/admin/api-keys/" + id, ``},
		{"DELETE", "/admin/api-keys", `{"id":"` + gone.APIKey.ID + `"}`},
		{"DELETE", "/admin/providers/openrouter", ``},
	}
	imports := []struct{ path, body string }{
		{"import", `{"keys":["sk-CANARY-list-00001","sk-CANARY-list-00002"]}`},
		{"import-from-txt", `{"content":"` + text(0, 2) + `"}`},
		{"import-with-validation", `{"content":"` + text(2, 4) + `"}`},
	}
	refused := func(when string) {
		before := f.all()
		for _, c := range changes {
			if c.method == "DELETE" && strings.HasSuffix(c.body, gone.APIKey.ID+`"}`) {
				continue // it is not there: nothing is to be written
			}
			f.wantPutOff(when+": "+c.method+" "+c.target, f.call(c.method, c.target, c.body), "STORE_UNAVAILABLE")
		}
		for _, i := range imports {
			var r report
			f.must("POST", "/admin/api-keys/"+i.path, i.body, &r)
			if r.Counts["failed"] != 2 || len(r.Results) != 2 || r.Results[0].Reason != "store_unavailable" || r.Results[1].Reason != "store_unavailable" {
				t.Errorf("%s, %s: %+v, want each line store_unavailable", when, i.path, r)
			}
		}
		if after := f.all(); after != before {
			t.Errorf("%s there is\n%s\nwhere there was\n%s", when, after, before)
		}
	}

	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		f.store.FailCommits(func(int) error { return err })
		refused(err.Error())
	}
	f.store.FailCommits(nil) // somebody has made room: all of it can be done
	for _, i := range imports {
		f.must("POST", "/admin/api-keys/"+i.path, i.body, nil)
	}
	for _, c := range changes {
		f.must(c.method, c.target, c.body, nil)
	}

	f = newFront(t)
	f.must("POST", "/admin/api-keys", `{"apiKey":"sk-CANARY-0123456789-here"}`, &key)
	f.must("POST", "/admin/tokens", `{"name":"here"}`, &token)
	f.store.FailCommits(func(int) error { return syscall.EIO })
	f.wantPutOff("the disk fails", f.call("POST", "/admin/tokens", `{"name":"x"}`), "STORE_UNAVAILABLE")
	f.store.FailCommits(nil) // and even if it works again: what is on it is unknown
	f.wantPutOff("the disk has failed", f.call("DELETE", "/admin/api-keys/"+key.APIKey.ID, ""), "STORE_UNAVAILABLE")
	f.wantPutOff("the disk has failed", f.call("DELETE", "/admin/tokens", `{"id":"`+token.ClientToken.ID+`"}`), "STORE_UNAVAILABLE")
	if w := f.call("GET", "/admin/api-keys/"+key.APIKey.ID, ""); w.Code != 200 {
		t.Errorf("a key that is there: %d %s", w.Code, w.Body)
	}

	f = newFront(t)
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{rootToken, "a stranger's"} { // who is asking cannot be known either
		for _, c := range append(changes, struct{ method, target, body string }{"GET", "/admin/api-keys", ""}) {
			f.wantPutOff("closed: "+c.method+" "+c.target, f.as(who, c.method, c.target, c.body), "STOPPING")
		}
	}
}

// Of an import each chunk is added whole or not at all, and each line is told. The same again adds only what is missing.
func TestPredecessor_B5(t *testing.T) {
	f := newFront(t)
	const lines, chunk = 1200, 500
	body := `{"content":"` + text(0, lines) + `"}`
	for _, step := range []struct {
		fails int // which commit
		want  map[string]int
	}{
		{2, map[string]int{"added": lines - chunk, "failed": chunk, "duplicate": 0, "invalid": 0}},
		{1, map[string]int{"added": 0, "failed": chunk, "duplicate": lines - chunk, "invalid": 0}},
		{0, map[string]int{"added": chunk, "failed": 0, "duplicate": lines - chunk, "invalid": 0}},
		{0, map[string]int{"added": 0, "failed": 0, "duplicate": lines, "invalid": 0}},
	} {
		f.store.FailCommits(func(n int) error {
			if n == step.fails {
				return syscall.ENOSPC
			}
			return nil
		})
		var r report
		var list struct{ Total int }
		f.must("POST", "/admin/api-keys/import-from-txt", body, &r)
		f.must("GET", "/admin/api-keys", "", &list)
		if !maps.Equal(r.Counts, step.want) || list.Total != r.Counts["added"]+r.Counts["duplicate"] {
			t.Errorf("commit %d fails: got %v and %d keys, want %v", step.fails, r.Counts, list.Total, step.want)
		}
		for n, line := range r.Results { // the second chunk is that of the lines 501 to 1000
			if failed := line.Reason == "store_unavailable"; failed != (step.fails > 0 && n >= chunk && n < 2*chunk) {
				t.Fatalf("commit %d fails: line %d is %s %s", step.fails, n+1, line.Result, line.Reason)
			}
		}
	}
}
