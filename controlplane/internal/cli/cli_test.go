package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/cli"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/rest"
	"ollama-api-pool/controlplane/internal/store"
	"ollama-api-pool/test/fakellm"
)

const (
	adminToken = "canary-admin-token-0123456789-0123456789"
	viewToken  = "canary-viewer-token-0123456789-012345678"
	secret     = "sk-canary-0123456789abcdef-"
)

// terminal is a shell beside a real control plane.
type terminal struct {
	t    *testing.T
	pool *pool.Pool
	st   *store.Store

	upstream *fakellm.Upstream
}

func start(t *testing.T) *terminal {
	t.Helper()
	o := store.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	if err := store.Init(o); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	p := pool.New(pool.Config{Start: time.Now(), Term: 1})
	s.OnCommit(func(changes []pool.Change) { p.Apply(time.Now(), changes) })
	if _, err := s.Update(t.Context(), func(tx *store.Tx) error {
		for _, pr := range pool.BuiltinProviders() {
			if _, err := tx.PutProvider(pr); err != nil {
				return err
			}
		}
		if err := tx.PutAdmin(store.Admin{Name: "root", Hash: sha256.Sum256([]byte(adminToken)), Role: "admin"}); err != nil {
			return err
		}
		return tx.PutAdmin(store.Admin{Name: "eve", Hash: sha256.Sum256([]byte(viewToken)), Role: "viewer"})
	}); err != nil {
		t.Fatal(err)
	}
	upstream := fakellm.New(fakellm.Config{Dialect: fakellm.Ollama})
	provider := httptest.NewServer(upstream)
	if _, err := s.Update(t.Context(), func(tx *store.Tx) error {
		pr, err := tx.Provider("ollama")
		if err == nil {
			pr.BaseURL, pr.AllowPrivateAddresses = provider.URL, true
			_, err = tx.PutProvider(pr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	prober := probe.New(probe.Config{})
	api := adminapi.New(adminapi.Config{Store: s, Pool: p, Prober: prober})
	server, err := rest.New(t.Context(), rest.Config{Register: api.Register, Options: api.Options(), Admit: api.Admit})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		web.Close()
		server.Close()
		prober.Close()
		provider.Close()
		_ = s.Close()
	})
	for _, name := range []string{"APIPOOL_ADMIN_TOKEN_FILE", "APIPOOL_ADMIN_LISTEN", "APIPOOL_ADMIN_TLS_CERT_FILE", "APIPOOL_DATA_DIR"} {
		t.Setenv(name, "")
	}
	t.Setenv("APIPOOL_ADDR", web.URL)
	t.Setenv("APIPOOL_ADMIN_TOKEN", adminToken)
	return &terminal{t: t, pool: p, st: s, upstream: upstream}
}

// run types a command and answers what came out.
func (term *terminal) run(stdin string, args ...string) (stdout, stderr string, code int) {
	term.t.Helper()
	root := &cobra.Command{Use: "controlplane", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error { return nil }}
	root.AddCommand(cli.Commands()...)
	var out, errs bytes.Buffer
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	code = cli.Execute(term.t.Context(), root)
	if strings.Contains(out.String()+errs.String(), "canary") {
		term.t.Errorf("%v: a secret was printed:\n%s%s", args, &out, &errs)
	}
	return out.String(), errs.String(), code
}

func (term *terminal) want(code int, args ...string) (stdout, stderr string) {
	term.t.Helper()
	stdout, stderr, got := term.run("", args...)
	if got != code {
		term.t.Errorf("%v: exit %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	return stdout, stderr
}

var keyID = regexp.MustCompile(`k_[0-9a-z]{13}`)

func TestKeys(t *testing.T) {
	term := start(t)
	out, errs, code := term.run(secret+"one\n\n"+secret+"two\r\n", "keys", "add", "-", "--label", "ann", "--ttl", "1h")
	ids := keyID.FindAllString(out, -1)
	if code != 0 || len(ids) != 2 || errs != "" {
		t.Fatalf("add: exit %d\n%s%s", code, out, errs)
	}
	out, _, code = term.run(secret+"one", "keys", "add", "-", "-o", "json")
	if code != 0 || !strings.Contains(out, `"created": false`) {
		t.Errorf("add again: exit %d\n%s", code, out)
	}
	_, errs, code = term.run(secret+"three\ncanary 4\n"+secret+"five\n", "keys", "add", "-")
	if code != 3 || !strings.Contains(errs, "line 2: apiKey") || !strings.Contains(errs, "request id") {
		t.Errorf("a bad line: exit %d\n%s", code, errs)
	}
	if _, errs, code = term.run(secret+"one", "keys", "add", "-", "--provider", "openrouter"); code != 6 {
		t.Errorf("another provider's: exit %d\n%s", code, errs)
	}
	if _, _, code = term.run(" \n", "keys", "add", "-"); code != 2 {
		t.Errorf("nothing: exit %d", code)
	}
	term.want(2, "keys", "add", secret+"six")
	term.want(2, "keys", "add")

	out, _ = term.want(0, "keys", "list")
	if lines := strings.Count(out, "\n"); lines != 5 || !strings.Contains(out, "sk-c…-two") || !strings.HasPrefix(out, "ID ") {
		t.Errorf("list:\n%s", out)
	}
	out, _ = term.want(0, "keys", "list", "--search", "ann", "--status", "active", "-o", "json")
	var all struct {
		APIKeys []struct{ ID string } `json:"apiKeys"`
		Total   int
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || all.Total != 2 || len(all.APIKeys) != 2 {
		t.Errorf("list as JSON: %v\n%s", err, out)
	}
	term.want(1, "keys", "list", "--status", "odd")

	out, _ = term.want(0, "keys", "disable", ids[0], ids[1], "--note", "test", "--for", "1h", "--force")
	if strings.Count(out, "disabled") != 2 {
		t.Errorf("disable:\n%s", out)
	}
	term.want(5, "keys", "disable", ids[0], "k_0000000000000")
	if _, errs = term.want(3, "keys", "delete", ids[0], "k_0000000000000"); !strings.Contains(errs, "1 deleted, 1 not there") {
		t.Errorf("delete: %s", errs)
	}
	term.want(5, "keys", "delete", ids[0])
	if out, _ = term.want(0, "keys", "restore", ids[0]); !strings.Contains(out, ids[0]) {
		t.Errorf("restore:\n%s", out)
	}
	term.want(5, "keys", "restore", ids[0])
	term.want(2, "keys", "delete")
	term.want(2, "keys", "disable")
	out, _ = term.want(0, "keys", "enable", ids[0], ids[1], "-o", "json")
	if strings.Count(out, `"status": "active"`) != 2 {
		t.Errorf("enable:\n%s", out)
	}
}

func TestDisableTellsUnconfirmedNodes(t *testing.T) {
	term := start(t)
	out, _, _ := term.run(secret+"one", "keys", "add", "-")
	if _, err := term.st.Update(t.Context(), func(tx *store.Tx) error {
		return tx.PutNode(pool.NodeRecord{ID: "deaf", Region: "eu", Epoch: 1, JoinTime: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	term.pool.Renew(time.Now(), term.pool.Attach(time.Now(), pool.Hello{Node: "deaf", Epoch: 1}), pool.NodeStatus{
		Caches: []pool.CacheStatus{{Provider: "ollama", Answers: 7, AnswerBytes: 70, AnswerHits: 3, AnswerMisses: 1}},
	})
	out, errs := term.want(3, "keys", "disable", keyID.FindString(out), "--wait", "100ms", "--force")
	if !strings.Contains(errs, "not confirmed yet: deaf") || !strings.Contains(out, "disabled") {
		t.Errorf("got\n%s%s", out, errs)
	}
	if _, errs = term.want(3, "cache", "clear", "--wait", "100ms", "--provider", "ollama"); !strings.Contains(errs, "cleared, but not every node") {
		t.Errorf("cache clear: %s", errs)
	}
	if out, _ = term.want(0, "cache", "stats"); !regexp.MustCompile(`(?m)^deaf +eu +models +0 .*\ndeaf +eu +responses +7 +70 +3 +1\nALL +- +models +0 .*\nALL +- +responses +7 `).MatchString(out) {
		t.Errorf("cache stats:\n%s", out)
	}
	term.want(5, "cache", "clear", "--provider", "nobody")
	out, _ = term.want(0, "nodes", "list")
	if !strings.Contains(out, "deaf  eu") || !strings.Contains(out, "live") {
		t.Errorf("nodes:\n%s", out)
	}
}

// Secrets that are made are alone on standard output.
func TestSecretsOnStdout(t *testing.T) {
	term := start(t)
	out, errs := term.want(0, "tokens", "create", "ci", "--ttl", "1h", "--provider", "ollama", "--model", "llama*")
	if !regexp.MustCompile(`^sk-pool-[0-9A-Za-z]{49}\n$`).MatchString(out) || !strings.Contains(errs, "cannot be shown again") {
		t.Errorf("token: %q %q", out, errs)
	}
	list, _ := term.want(0, "tokens", "list")
	term.want(0, "tokens", "revoke", regexp.MustCompile(`t_\w{13}`).FindString(list))
	term.want(5, "tokens", "revoke", "t_0000000000000")
	if strings.Contains(list, strings.TrimSpace(out)) || !strings.Contains(list, "ci") {
		t.Errorf("list:\n%s", list)
	}
	out, errs = term.want(0, "nodes", "join-token", "--region", "eu", "--ttl", "15m")
	if !regexp.MustCompile(`^join-[A-Z2-7]{26}\n$`).MatchString(out) || !strings.Contains(errs, "one node until") {
		t.Errorf("join token: %q %q", out, errs)
	}
	out, _ = term.want(0, "tokens", "create", "ci", "-o", "json")
	if !json.Valid([]byte(out)) {
		t.Errorf("not JSON: %s", out)
	}
}

func TestStats(t *testing.T) {
	term := start(t)
	term.run(secret+"one", "keys", "add", "-")
	out, _ := term.want(0, "stats")
	if !regexp.MustCompile(`(?m)^ollama +1 +1 +0 `).MatchString(out) || !regexp.MustCompile(`(?m)^ALL +1 .* 0 +0\n`).MatchString(out) || !strings.Contains(out, "OUTPUT TOKENS") {
		t.Errorf("stats:\n%s", out)
	}
	term.want(5, "stats", "--provider", "nobody")
	term.want(0, "stats", "-o", "json")
}

func TestExitCodes(t *testing.T) {
	term := start(t)
	for _, row := range []struct {
		code int
		args []string
	}{
		{0, nil},
		{2, []string{"kyes"}},
		{2, []string{secret}},
		{2, []string{"--" + secret}},
		{2, []string{"keys", "nonsense"}},
		{2, []string{"keys", secret}},
		{2, []string{"keys", "list", "--nonsense"}},
		{2, []string{"keys", "list", "--nonsense=" + secret}},
		{2, []string{"keys", "list", "x"}},
		{2, []string{"keys", "list", "-o", "xml"}},
		{2, []string{"keys", "list", "--addr", "ftp://x"}},
		{2, []string{"keys", "list", "--addr", "http://canary@x"}},
		{2, []string{"keys", "disable", "k_1", "--for", secret}},
		{2, []string{"tokens", "create"}},
		{2, []string{"tokens", "create", "x", "--cache", secret}},
		{2, []string{"tokens", "create", "x", "--max-concurrent", secret}},
		{2, []string{"tokens", "update"}},
		{2, []string{"tokens", "update", "t_0000000000000"}},
		{2, []string{"tokens", "update", "t_0000000000000", "--cache", secret}},
		{2, []string{"tokens", "update", "t_0000000000000", "--name", "\xff"}},
		{5, []string{"tokens", "update", "t_0000000000000", "--name", "x"}},
		{1, []string{"tokens", "create", "x", "--allow-from", secret}},
		{1, []string{"tokens", "create", "x", "--max-concurrent", "-1"}},
		{7, []string{"keys", "list", "--addr", "127.0.0.1:1"}},
		{4, []string{"keys", "list", "--token-file", "/nowhere"}},
		{0, []string{"keys"}},
		{0, []string{"health"}},
		{1, []string{"health", "--addr", "127.0.0.1:1"}},
	} {
		term.want(row.code, row.args...)
	}
	if _, errs := term.want(2, "keys", "disable", "k_1", "--for", secret); !strings.Contains(errs, "--for has a value") {
		t.Errorf("the flag is not named: %s", errs)
	}
	t.Setenv("APIPOOL_ADMIN_TOKEN", viewToken)
	term.want(0, "keys", "list")
	term.want(4, "nodes", "join-token")
	t.Setenv("APIPOOL_ADMIN_TOKEN", "wrong-canary")
	term.want(4, "keys", "list")
	t.Setenv("APIPOOL_ADMIN_TOKEN", "")
	if _, errs := term.want(4, "keys", "list"); !strings.Contains(errs, "APIPOOL_ADMIN_TOKEN_FILE") {
		t.Errorf("no advice: %s", errs)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	term.want(0, "keys", "list", "--token-file", file)
	t.Setenv("APIPOOL_ADMIN_TOKEN_FILE", file)
	term.want(0, "keys", "list")
}

func TestStrangeServers(t *testing.T) {
	term := start(t)
	answer := http.HandlerFunc(nil)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer web.Close()
	t.Setenv("APIPOOL_ADDR", web.URL)
	for _, row := range []struct {
		code   int
		answer http.HandlerFunc
	}{
		{1, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }},
		{1, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example", http.StatusFound)
		}},
		{7, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }},
		{4, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }},
		{0, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"newField":1}`)) }},
	} {
		answer = row.answer
		term.want(row.code, "keys", "list")
	}
	answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	term.want(1, "health")
	t.Setenv("APIPOOL_ADDR", "")
	t.Setenv("APIPOOL_ADMIN_LISTEN", "0.0.0.0:"+web.URL[strings.LastIndex(web.URL, ":")+1:])
	answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }
	term.want(0, "health")
}

// In the control plane's own container nothing has to be said: where it listens and where it leaves the first admin's token
// is in the environment. An address that somebody names gets no token that nobody has named.
func TestTheTokenLeftInTheDataDirectory(t *testing.T) {
	term := start(t)
	addr := os.Getenv("APIPOOL_ADDR")
	dir := t.TempDir()
	t.Setenv("APIPOOL_ADMIN_TOKEN", "")
	t.Setenv("APIPOOL_ADDR", "")
	t.Setenv("APIPOOL_ADMIN_LISTEN", "0.0.0.0:"+addr[strings.LastIndex(addr, ":")+1:])
	t.Setenv("APIPOOL_DATA_DIR", dir)
	if _, errs := term.want(4, "keys", "list"); !strings.Contains(errs, "APIPOOL_ADMIN_TOKEN_FILE") {
		t.Errorf("none was left: %s", errs)
	}
	if err := os.WriteFile(filepath.Join(dir, "admin-token"), []byte(adminToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	term.want(0, "keys", "list")
	term.want(4, "keys", "list", "--addr", addr)
	t.Setenv("APIPOOL_ADDR", addr)
	term.want(4, "keys", "list")
	t.Setenv("APIPOOL_ADDR", "")
	t.Setenv("APIPOOL_ADMIN_TOKEN", viewToken) // one that was named comes first
	term.want(4, "nodes", "join-token")
}
