package system

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ollama-api-pool/test/fakellm"
)

// Each provider is served under its own prefix, with its own keys, from its own origin; one that is added needs no restart.
func TestEveryProviderHasItsPrefixItsKeysAndItsOrigin(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.admin("PATCH", "/admin/providers/openrouter", `{"baseUrl":"http://router/api","allowPrivateAddresses":true}`, nil)
		c.admin("POST", "/admin/providers", `{"id":"mine","baseUrl":"http://mine","dialect":"openai","allowPrivateAddresses":true}`, nil)
		upstreams := map[string]*fakellm.Upstream{
			"ollama": c.upstream, "openrouter": c.another("router", fakellm.OpenRouter), "mine": c.another("mine", fakellm.OpenAI),
		}
		for n, id := range []string{"ollama", "openrouter", "mine"} {
			if err := upstreams[id].SetKey(secret(n), fakellm.Behaviour{}); err != nil {
				t.Fatal(err)
			}
			c.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"provider":%q}`, secret(n), id), nil)
		}
		token := c.addToken("all")
		c.settle() // providers are told at once, but nobody waits for their confirmation
		for n := range 30 {
			for id, prefix := range map[string]string{"ollama": "", "openrouter": "/openrouter", "mine": "/mine"} {
				if got := c.chat("eu-1"+prefix, token, fmt.Sprint(id, n), n%2 == 0); !got.ok() {
					t.Fatalf("%s: %v", id, got)
				}
			}
		}
		for n, id := range []string{"ollama", "openrouter", "mine"} {
			for _, v := range fakellm.UnexpectedKeys(upstreams[id].Ledger(), secret(n)) {
				t.Errorf("%s: %s", id, v)
			}
			if got := len(fakellm.Attempts(upstreams[id].Ledger())); got != 30 {
				t.Errorf("%s had %d requests, want 30", id, got)
			}
			models := c.as(token).try("GET", "/v1/models", "")
			if id != "ollama" {
				models = c.as(token).try("GET", "/"+id+"/v1/models", "")
			}
			if !models.ok() || !strings.Contains(models.body, fakellm.DefaultModel) {
				t.Errorf("%s lists %v", id, models)
			}
		}
		if got := c.chat("eu-1/nobody", token, "x", false); got.status != http.StatusNotFound {
			t.Errorf("a provider that does not exist: %v", got)
		}
		c.admin("PATCH", "/admin/providers/mine", `{"enabled":false}`, nil)
		c.settle()
		if got := c.chat("eu-1/mine", token, "y", false); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "mine") {
			t.Errorf("a provider that is switched off: %v", got)
		}
	})
}

// another starts a second upstream under a name.
func (c *cluster) another(name, dialect string) *fakellm.Upstream {
	u := fakellm.New(fakellm.Config{Dialect: dialect})
	l := c.net.listen(name)
	web := &http.Server{Handler: u}
	c.wg.Go(func() { _ = web.Serve(l) })
	c.also = append(c.also, web)
	return u
}

// as is a client of node eu-1 with a token.
func (c *cluster) as(token string) *operator {
	return &operator{t: c.t, base: "http://eu-1", token: token, client: c.client, logs: c.logs}
}
