package adminapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/rest"
	"ollama-api-pool/controlplane/internal/store"
)

// Every secret of these tests holds this word. No answer and no log line may ever hold it.
const canary = "canary"

// fixture is a real control plane without listeners: store, pool, services and REST.
type fixture struct {
	t     *testing.T
	store *store.Store
	pool  *pool.Pool
	http  http.Handler
	role  string // whose token is sent; none: nobody's
	log   *bytes.Buffer

	mu  sync.Mutex
	now time.Time // guarded by mu
}

func start(t *testing.T, change ...func(*adminapi.Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, role: "admin", log: &bytes.Buffer{}, now: time.Now()}
	f.openStore()
	f.pool = pool.New(pool.Config{Start: f.now, Term: 1})
	f.store.OnCommit(func(changes []pool.Change) { f.pool.Apply(f.clock(), changes) })
	f.load()
	for _, role := range []string{"viewer", "operator", "admin"} {
		f.update(func(tx *store.Tx) error {
			return tx.PutAdmin(store.Admin{Name: "the " + role, Hash: sha256.Sum256([]byte(adminToken(role))), Role: role})
		})
	}
	c := adminapi.Config{Store: f.store, Pool: f.pool, Now: f.clock, Log: slog.New(slog.NewTextHandler(f.log, nil))}
	for _, f := range change {
		f(&c)
	}
	api := adminapi.New(c)
	server, err := rest.New(t.Context(), rest.Config{
		Register: api.Register, Options: api.Options(), Admit: api.Admit, Open: api.Open(), Log: c.Log, MaxBody: 8 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.http = server
	t.Cleanup(func() {
		server.Close()
		if err := f.store.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
		if strings.Contains(f.log.String(), canary) {
			t.Errorf("the log holds a secret")
		}
	})
	return f
}

func (f *fixture) openStore() {
	f.t.Helper()
	o := store.Options{Dir: f.t.TempDir(), Now: f.clock, Logger: slog.New(slog.DiscardHandler)}
	if err := store.Init(o); err != nil {
		f.t.Fatal(err)
	}
	s, err := store.Open(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.store = s
}

// load fills the pool with what a new store holds.
func (f *fixture) load() {
	f.t.Helper()
	var changes []pool.Change
	err := f.store.View(func(tx *store.Tx) error {
		for p, err := range tx.Providers() {
			if err != nil {
				return err
			}
			changes = append(changes, pool.Change{Revision: p.Revision, Provider: &p})
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.pool.Load(f.clock(), changes, nil)
}

func (f *fixture) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *fixture) update(fn func(tx *store.Tx) error) {
	f.t.Helper()
	if _, err := f.store.Update(f.t.Context(), fn); err != nil {
		f.t.Fatal(err)
	}
}

// node adds a data plane that is connected; it confirms all it is told if it is to obey.
func (f *fixture) node(id pool.NodeID, region string, obeys bool) *pool.Session {
	f.t.Helper()
	f.update(func(tx *store.Tx) error {
		return tx.PutNode(pool.NodeRecord{ID: id, Region: region, Epoch: 1, JoinTime: f.clock()})
	})
	s := f.pool.Attach(f.clock(), pool.Hello{Node: id, Zone: "z", Version: "v1", Epoch: 1})
	ctx, cancel := context.WithCancel(f.t.Context())
	var done sync.WaitGroup
	f.t.Cleanup(func() { cancel(); done.Wait() })
	done.Go(func() {
		for obeys {
			select {
			case <-s.Wake():
			case <-ctx.Done():
				return
			}
			for o := s.Next(f.clock()); o != nil; o = s.Next(f.clock()) {
				switch {
				case o.Delta != nil:
					s.Ack(f.clock(), o.Delta.Seq, 0, 0, nil)
				case o.Health != nil:
					s.Ack(f.clock(), 0, o.Health.Seq, 0, nil)
				case o.Command != nil:
					s.Ack(f.clock(), 0, 0, o.Command.Seq, nil)
				}
			}
		}
	})
	return s
}

func adminToken(role string) string { return "canary-admin-token-of-the-" + role + "-0123456789" }

// object is any JSON.
type object = map[string]any

// call sends a request as curl --json would and answers status and JSON. It checks that no secret comes back, except the
// one of a token that was just made.
func (f *fixture) call(method, target, body string) (int, object) {
	f.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(f.t.Context(), method, target, reader)
	r.Host = "localhost"
	if f.role != "" {
		r.Header.Set("Authorization", "Bearer "+adminToken(f.role))
	}
	w := httptest.NewRecorder()
	f.http.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), canary) {
		f.t.Errorf("%s %s: the answer holds a secret: %s", method, target, w.Body)
	}
	var o object
	if err := json.Unmarshal(w.Body.Bytes(), &o); err != nil {
		f.t.Errorf("%s %s: not JSON: %s", method, target, w.Body)
	}
	return w.Code, o
}

// must is call for what has to work.
func (f *fixture) must(method, target, body string) object {
	f.t.Helper()
	code, o := f.call(method, target, body)
	if code != 200 {
		f.t.Fatalf("%s %s %s: got %d %v", method, target, body, code, o)
	}
	return o
}

// refuse is call for what has to fail: with the status and reason, and a message that holds the text.
func (f *fixture) refuse(method, target, body string, status int, reason, text string) object {
	f.t.Helper()
	code, o := f.call(method, target, body)
	got := ""
	for _, d := range list(o, "details") {
		if d["@type"] == "type.googleapis.com/google.rpc.ErrorInfo" && d["domain"] == "ollama-api-pool" {
			got, _ = d["reason"].(string)
		}
	}
	message, _ := o["message"].(string)
	if code != status || got != reason || !strings.Contains(message, text) {
		f.t.Errorf("%s %s %.200s: got %d %s %q, want %d %s naming %q", method, target, body, code, got, message, status, reason, text)
	}
	return o
}

// addKey adds a key and answers its id.
func (f *fixture) addKey(name, more string) string {
	f.t.Helper()
	return at(f.must("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":"%s"%s}`, secretOf(name), more)), "apiKey", "id").(string)
}

func secretOf(name string) string { return "sk-canary-0123456789abcdef-" + name }

// at walks into JSON.
func at(o object, path ...string) any {
	var v any = o
	for _, name := range path {
		inner, _ := v.(object)
		v = inner[name]
	}
	return v
}

func list(o object, path ...string) []object {
	items, _ := at(o, path...).([]any)
	objects := make([]object, len(items))
	for i := range items {
		objects[i], _ = items[i].(object)
	}
	return objects
}

// want compares a part of JSON, written as Go prints it.
func (f *fixture) want(o object, want string, path ...string) {
	f.t.Helper()
	if got := fmt.Sprint(at(o, path...)); got != want {
		f.t.Errorf("%s: got %s, want %s", strings.Join(path, "."), got, want)
	}
}
