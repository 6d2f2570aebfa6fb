package system

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	controlplane "ollama-api-pool/controlplane/server"
	"ollama-api-pool/test/fakellm"
)

// Whatever one client asks for, no key is ejected for it: a model that no key may use is held against the model only.
func TestPredecessor_A10(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		const keys = 10
		ids := make([]string, keys)
		for n := range keys {
			ids[n] = c.addKey(secret(n), fakellm.Behaviour{ForbidModels: []string{"forbidden:1b"}})
		}
		token := c.addToken("one client")
		for n := range 40 {
			body := `{"model":"forbidden:1b","messages":[{"role":"user","content":"hi"}]}`
			if n%2 == 1 {
				body = `{"model":"` + fakellm.DefaultModel + `"}` // 400: no messages
			}
			if got := c.post("eu-1", token, body); got.status/100 != 4 || got.status == 401 || got.status == 429 {
				t.Errorf("request %d: %v", n, got)
			}
		}
		c.settle()
		for _, id := range ids {
			if status, reason := c.keyStatus(id); status != "active" {
				t.Errorf("a key is %s (%s)", status, reason)
			}
		}
		if got := c.chat("eu-1", token, "other", false); !got.ok() {
			t.Errorf("another model: %v", got)
		}
	})
}

// With the control plane gone for an hour a request is one call of the upstream and a 200, however many reports wait.
func TestPredecessor_A15(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("first")
		c.stopControl()
		const requests = 360
		for n := range requests {
			if got := c.chat("eu-1", token, fmt.Sprint("r", n), n%2 == 0); !got.ok() {
				t.Fatalf("request %d: %v", n, got)
			}
			time.Sleep(10 * time.Second)
		}
		calls := 0
		for _, e := range c.upstream.Ledger() {
			if e.RequestID != "" {
				calls++
			}
		}
		if calls != requests {
			t.Errorf("%d calls for %d requests", calls, requests)
		}
		c.startControl()
	})
}

// A credential that is short enough to be guessed, or is in some example, is refused at the start.
func TestPredecessor_C4(t *testing.T) {
	for _, weak := range []string{"password", "changeme", "your-admin-token-here", strings.Repeat("a", 31)} {
		s, err := controlplane.New(t.Context(), controlplane.Config{
			DataDir: filepath.Join(t.TempDir(), "control"), AdminToken: weak, JoinToken: joinToken,
			NodeListener: newMemnet().listen("control"), AdminListener: newMemnet().listen("admin"),
		})
		if err == nil {
			t.Errorf("%q was taken: %v", weak, s)
		} else if strings.Contains(err.Error(), weak) {
			t.Errorf("the refusal tells the token: %v", err)
		}
	}
}

// Keys and tokens are in no file, log or answer, however they are met with; what is shown of a key is its ends.
func TestPredecessor_C7(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "5"})
		c.addKey(secret(1), fakellm.Behaviour{Status: 400, Body: `{"error":{"message":"key ` + secret(1) + `"}}`})
		c.addKey(secret(2), fakellm.Behaviour{Status: 500, Body: secret(2)})
		short := c.addKey("sk-short-canary-7", fakellm.Behaviour{})
		token := c.addToken("first")
		for n := range 20 {
			c.chat("eu-1", token, fmt.Sprint("r", n), n%2 == 0)
			time.Sleep(time.Second)
		}
		c.try("GET", "/admin/api-keys/"+secret(0), "")
		c.try("POST", "/admin/api-keys", `{"apiKey":["`+secret(0)+`"]}`)
		c.try("POST", "/admin/keys/disable", `{"apiKey":"`+secret(0)+`"}`)
		c.try("DELETE", "/admin/tokens", `{"token":"`+token+`x"}`)
		c.settle()
		for _, page := range []string{"/metrics", "/admin/api-keys", "/admin/keys/stats", "/admin/tokens", "/admin/stats"} {
			c.try("GET", page, "")
		}
		c.get("http://eu-1-ops/metrics")
		secrets := []string{secret(0), secret(1), secret(2), "sk-short-canary-7", token, adminToken, joinToken}
		report(t, findSecrets("a log line or an answer", []byte(c.logs.String()), secrets))
		found, _ := findInFiles(t, c.dir, secrets)
		report(t, found)
		var shown struct{ Display string }
		c.admin("GET", "/admin/api-keys/"+short, "", &shown)
		if strings.Contains(shown.Display, "sk-s") || strings.Contains(shown.Display, "ry-7") {
			t.Errorf("of a short key %q is shown", shown.Display)
		}
		c.admin("GET", "/admin/api-keys/"+c.keyOf(secret(0)), "", &shown)
		if prefix, last, _ := strings.Cut(shown.Display, "…"); len(prefix) > 6 || len(last) > 4 {
			t.Errorf("of a long key %q is shown", shown.Display)
		}
	})
}

// post sends a body as it stands.
func (c *cluster) post(node, token, body string) answer {
	req, err := http.NewRequestWithContext(c.t.Context(), "POST", "http://"+node+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	return c.do(req)
}
