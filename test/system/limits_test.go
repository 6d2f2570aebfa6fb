package system

import (
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// tokenWith makes a token with these settings besides its name, and answers its id and secret.
func (c *cluster) tokenWith(settings string) (id, secret string) {
	c.t.Helper()
	var made struct {
		Token       string
		ClientToken struct{ ID string }
	}
	c.admin("POST", "/admin/tokens", `{"name":"bound",`+settings+`}`, &made)
	return made.ClientToken.ID, made.Token
}

func TestATokensLimitsReachTheNodesAndChangeThere(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		id, token := c.tokenWith(`"limits":{"requestsPerMinute":2}`)
		for n, want := range []int{200, 200, 429} {
			if got := c.chat("eu-1", token, "r", false); got.status != want {
				t.Errorf("request %d: %v", n, got)
			}
		}
		c.admin("PATCH", "/admin/tokens/"+id, `{"limits":{"requestsPerMinute":3}}`, nil)
		if got := c.chat("eu-1", token, "r", false); got.status != 200 {
			t.Errorf("one more is allowed: %v", got)
		}
		if got := c.chat("eu-1", token, "r", false); got.status != 429 {
			t.Errorf("what was used before is forgotten: %v", got)
		}
		time.Sleep(time.Minute + time.Second)
		if got := c.chat("eu-1", token, "r", false); got.status != 200 {
			t.Errorf("a minute later: %v", got)
		}
		c.admin("PATCH", "/admin/tokens/"+id, `{"allowedCidrs":["203.0.113.7"]}`, nil)
		if got := c.chat("eu-1", token, "r", false); got.status != 403 {
			t.Errorf("from an address that is not allowed: %v", got)
		}
		c.admin("PATCH", "/admin/tokens/"+id, `{"allowedCidrs":[],"models":["another"]}`, nil)
		if got := c.chat("eu-1", token, "r", false); got.status != 403 {
			t.Errorf("for a model that is not allowed: %v", got)
		}
		c.settle()
		var list struct {
			ClientTokens []struct {
				Limits struct{ RequestsPerMinute int }
				Stats  struct{ Total, Success, ClientError, InputTokens, OutputTokens float64 }
			}
		}
		c.admin("GET", "/admin/tokens", "", &list)
		got := list.ClientTokens[0]
		if s := got.Stats; got.Limits.RequestsPerMinute != 3 || s.Total != 8 || s.Success != 4 || s.ClientError != 4 ||
			s.InputTokens == 0 || s.OutputTokens == 0 {
			t.Errorf("the token is shown as %+v", got)
		}
	})
}

func TestTheUpstreamsCountOfTokensArrives(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		key := c.addKey(secret(0), fakellm.Behaviour{})
		_, token := c.tokenWith(`"limits":{"tokensPerMinute":100000}`)
		client := c.as(token)
		client.base = "http://eu-1"
		const body = `{"model":"` + fakellm.DefaultModel + `","messages":[{"role":"user","content":"hello"}]`
		whole := client.try("POST", "/v1/chat/completions", body+`}`)
		stream := client.try("POST", "/v1/chat/completions", body+`,"stream":true}`)
		if !whole.ok() || !strings.Contains(whole.body, `"usage":{`) {
			t.Fatalf("whole: %v", whole)
		}
		if !stream.ok() || strings.Contains(stream.body, `"usage":{`) || !strings.HasSuffix(stream.body, "data: [DONE]\n\n") {
			t.Errorf("the stream shows what the client did not ask for: %v", stream)
		}
		c.settle()
		var k struct {
			Stats struct{ InputTokens, OutputTokens, EstimatedTokens float64 }
		}
		c.admin("GET", "/admin/api-keys/"+key, "", &k)
		var all struct{ InputTokens, OutputTokens, EstimatedTokens float64 }
		c.admin("GET", "/admin/stats", "", &all)
		if k.Stats != all || all.EstimatedTokens != 0 || all.InputTokens == 0 || all.OutputTokens == 0 {
			t.Errorf("of the key %+v, of all %+v", k.Stats, all)
		}
	})
}

func TestProviderSettingsReachTheNodes(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		c.addKey(secret(1), fakellm.Behaviour{})
		token := c.addToken("aliases")
		client := c.as(token)
		client.base = "http://eu-1"
		ask := func(model, more string) answer {
			return client.try("POST", "/v1/chat/completions", `{"model":"`+model+`","messages":[{"role":"user","content":"hello"}]`+more+`}`)
		}
		if got := ask("gpt-4o", ""); got.status != 404 {
			t.Errorf("a name without an alias: %v", got)
		}
		c.admin("PATCH", "/admin/providers/ollama", `{"modelAliases":{"gpt-4o":"`+fakellm.DefaultModel+`"}}`, nil)
		time.Sleep(time.Second)
		if got := ask("gpt-4o", ""); !got.ok() {
			t.Errorf("an alias: %v", got)
		}
		if got := client.try("GET", "/v1/models/gpt-4o", ""); !got.ok() {
			t.Errorf("the alias is not listed: %v", got)
		}

		before := len(c.upstream.Ledger())
		for range 6 {
			ask(fakellm.DefaultModel, `,"prompt_cache_key":"one conversation"`)
		}
		for _, e := range c.upstream.Ledger()[before+1:] {
			if e.Key != c.upstream.Ledger()[before].Key {
				t.Error("a conversation has changed its key")
			}
		}

		c.admin("PATCH", "/admin/providers/ollama", `{"cache":{"enabled":true,"ttl":60}}`, nil)
		time.Sleep(time.Second)
		before = len(c.upstream.Ledger())
		first, again := ask(fakellm.DefaultModel, ""), ask(fakellm.DefaultModel, "")
		if calls := len(c.upstream.Ledger()) - before; calls != 1 || first.body != again.body {
			t.Errorf("%d calls for the same question", calls)
		}
		c.afterHeartbeat()
		var kept struct{ Responses cacheFigures }
		c.admin("GET", "/admin/cache/stats", "", &kept)
		if r := kept.Responses; r.Entries != 1 || r.Hits != 1 || r.Misses != 1 {
			t.Errorf("kept are %+v", r)
		}
		c.admin("POST", "/admin/cache/clear", `{"provider":"ollama"}`, nil)
		ask(fakellm.DefaultModel, "")
		if calls := len(c.upstream.Ledger()) - before; calls != 2 {
			t.Errorf("%d calls after a clear", calls)
		}
	})
}

// A limit that ends soon is waited for, within the provider's patience and no longer.
func TestARequestWaitsForTheFirstKeyToRecover(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "1"})
		token := c.addToken("patient")
		if got := c.chat("eu-1", token, "r1", false); got.status != 429 {
			t.Fatalf("the only key is limited: %v", got)
		}
		c.behave(secret(0), fakellm.Behaviour{})
		begin := time.Now()
		got := c.chat("eu-1", token, "r2", false)
		if waited := time.Since(begin); !got.ok() || waited < 500*time.Millisecond || waited > 2*time.Second {
			t.Errorf("%v after %s", got, waited)
		}
		c.behave(secret(0), fakellm.Behaviour{Status: 429, RetryAfter: "9"})
		c.chat("eu-1", token, "r3", false)
		begin = time.Now()
		if got := c.chat("eu-1", token, "r4", false); got.status != 429 || time.Since(begin) > 100*time.Millisecond {
			t.Errorf("a wait that is too long: %v after %s", got, time.Since(begin))
		}
	})
}
