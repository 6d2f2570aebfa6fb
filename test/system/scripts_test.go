package system

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	controlplane "ollama-api-pool/controlplane/server"
	"ollama-api-pool/test/fakellm"
)

// The curl lines of somebody who comes from the former system, against the real binaries.
func TestProcessCurlScripts(t *testing.T) {
	needCurl(t)
	f := processes(t, "eu-1@eu-west")
	router := f.another("openrouter", "/api", fakellm.OpenRouter)
	var secrets []string
	for n := range 30 {
		ollama, other := fmt.Sprintf("ollama-canary-good-key-%04d", n+1), fmt.Sprintf("sk-or-canary-good-key-%04d", n+1)
		f.behave(ollama, fakellm.Behaviour{})
		if err := router.SetKey(other, fakellm.Behaviour{}); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, ollama, other)
	}
	out, err := f.curlScript("http://"+f.port("eu-1"), f.base)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if n := requestsOf(out); n < 230 {
		t.Errorf("only %d requests were made: the script proves nothing", n)
	}
	for upstream, ledger := range map[string][]fakellm.Entry{"ollama-": f.upstream.Ledger(), "sk-or-": router.Ledger()} {
		if len(ledger) == 0 {
			t.Errorf("nobody was asked about keys like %s…", upstream)
		}
		for _, e := range ledger {
			if !strings.HasPrefix(e.Key, upstream) {
				t.Errorf("a key of another provider came to the upstream of %s…, at %s", upstream, e.Path)
			}
		}
	}
	f.scan(append(secrets, "sk-canary0123456789ABCDEFGHIJold1")...)
	t.Logf("curl: %d requests", requestsOf(out))
}

// Against something that is content with everything and repeats it, the script finds fault with almost every line.
func TestTheCurlScriptFindsFault(t *testing.T) {
	needCurl(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"total":"3","message":"canary"}`))
	}))
	defer web.Close()
	f := &fleet{operator: &operator{t: t}, dir: t.TempDir()}
	out, err := f.curlScript(web.URL, web.URL)
	var failures int
	_, _ = fmt.Sscanf(out[strings.LastIndex(out, "requests, ")+len("requests, "):], "%d", &failures)
	if err == nil || failures < requestsOf(out)*9/10 {
		t.Errorf("%v, %d failures in %d requests", err, failures, requestsOf(out))
	}
	for _, want := range []string{"want 401, got 200", "total is no number", "no header Allow: GET, HEAD", "without \"choices\"", "an answer holds what it must not"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
}

func needCurl(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("left out: no " + tool + " (make deps)")
		}
	}
}

// curlScript runs scripts/migration.sh, which leaves its answers in the fleet's folder.
func (f *fleet) curlScript(pool, admin string) (string, error) {
	f.t.Helper()
	answers := f.path("answers")
	if err := os.Mkdir(answers, 0o700); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "scripts/migration.sh")
	cmd.Env = append(os.Environ(), "POOL="+pool, "ADMIN="+admin, "ADMIN_TOKEN="+adminToken, "ANSWERS="+answers)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var requestCount = regexp.MustCompile(`(?m)^(\d+) requests, `)

func requestsOf(out string) (n int) {
	if found := requestCount.FindStringSubmatch(out); found != nil {
		_, _ = fmt.Sscan(found[1], &n)
	}
	return n
}

// another starts a second upstream, of a provider that there is.
func (f *fleet) another(provider, path, dialect string) *fakellm.Upstream {
	f.t.Helper()
	u := fakellm.New(fakellm.Config{Dialect: dialect, KeepHeaders: true})
	web := httptest.NewServer(u)
	f.t.Cleanup(web.Close)
	f.admin("PATCH", "/admin/providers/"+provider, fmt.Sprintf(`{"baseUrl":%q,"allowPrivateAddresses":true}`, web.URL+path), nil)
	return u
}

// The script finds the public statistics closed. Once an operator has opened them anyone may see them, and nothing else.
func TestPublicStatisticsAreOpenOnceTheyAreSwitchedOn(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("public")
		if got := c.chat("eu-1", token, "r1", false); !got.ok() {
			t.Fatal(got)
		}
		c.settle()
		stranger := *c.operator
		stranger.token = "nobody"
		if got := stranger.try("GET", "/admin/public-stats", ""); got.status != 401 {
			t.Errorf("before: %v", got)
		}
		c.stopControl()
		c.changeCP = func(cfg *controlplane.Config) { cfg.PublicStats = true }
		c.startControl()
		for provider, want := range map[string]string{"": "1", "?provider=ollama": "1", "?provider=openrouter": "0"} {
			got := stranger.try("GET", "/admin/public-stats"+provider, "")
			if !got.ok() || !strings.HasPrefix(got.body, `{"totalRequests":`+want+`,`) {
				t.Errorf("%q: %v, want %s request", provider, got, want)
			}
		}
		for _, closed := range []string{"/admin/stats", "/admin/keys/stats", "/admin/api-keys", "/admin/public-stats/"} {
			if got := stranger.try("GET", closed, ""); got.status != 401 {
				t.Errorf("%s: %v", closed, got)
			}
		}
	})
}
