package system

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// A key that is imported for a provider is that provider's for ever: neither imports, verification, checks and the nodes'
// own probes nor clients take it anywhere else, and nobody deletes it under another provider's name.
func TestPredecessor_C1(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		c.admin("PATCH", "/admin/providers/openrouter", `{"baseUrl":"http://router/api","allowPrivateAddresses":true}`, nil)
		router := c.another("router", fakellm.OpenRouter)
		routed := func(n int) string { return fmt.Sprintf("sk-or-v1-routed-canary-%08d", 5000+n) }
		var own, strange []string // the keys of ollama and of openrouter
		for n := range 10 {
			own, strange = append(own, secret(n)), append(strange, routed(n))
			c.behave(secret(n), fakellm.Behaviour{})
			if err := router.SetKey(routed(n), fakellm.Behaviour{}); err != nil {
				t.Fatal(err)
			}
		}
		for n, call := range []struct{ path, body string }{
			{"", `{"apiKey":%s}`},
			{"/import", `{"keys":[%s]}`},
			{"/import-from-txt", `{"content":%s}`},
			{"/import-with-validation", `{"content":%s}`},
			{"/import-with-validation", `{"content":%s,"dryRun":true}`},
		} {
			for provider, key := range map[string]string{"openrouter": routed(n), "ollama": secret(n)} {
				got := c.try("POST", "/admin/api-keys"+call.path+"?provider="+provider, fmt.Sprintf(call.body, quoted(key)))
				if !got.ok() || strings.Contains(got.body, `"failed":1`) {
					t.Errorf("%s: %v", call.path, got)
				}
			}
		}
		// Said in the body it is the same, and mixed up it is refused; the dry run has added nothing.
		c.admin("POST", "/admin/api-keys/import-with-validation", `{"content":"`+routed(5)+`","provider":"openrouter"}`, nil)
		c.admin("POST", "/admin/verify-key?provider=openrouter", `{"apiKey":"`+routed(6)+`"}`, nil)
		for _, path := range []string{"/import", "/import-from-txt", "/import-with-validation"} {
			body := `{"content":"` + routed(7) + `","provider":"ollama"}`
			if path == "/import" {
				body = `{"keys":["` + routed(7) + `"],"provider":"ollama"}`
			}
			if got := c.try("POST", "/admin/api-keys"+path+"?provider=openrouter", body); got.status != 400 {
				t.Errorf("%s with two providers: %v", path, got)
			}
		}
		for provider, want := range map[string]int{"": 9, "ollama": 4, "openrouter": 5} {
			if got := c.countKeys(provider); got != want {
				t.Errorf("provider %q has %d keys, want %d", provider, got, want)
			}
		}
		// A key of one provider is not asked about, or imported, as another's.
		c.try("POST", "/admin/api-keys/import-with-validation", `{"content":"`+routed(0)+`"}`)
		c.try("POST", "/admin/verify-key?provider=ollama", `{"id":"`+c.keyOf(routed(0))+`"}`)
		c.admin("POST", "/admin/keys/health-check", `{"all":true}`, nil)
		c.admin("POST", "/admin/keys/health-check?provider=ollama", `{}`, nil)

		token, begin := c.addToken("mixed"), time.Now().Add(time.Second)
		time.Sleep(2 * time.Second)
		for n := range 300 {
			if n == 100 { // rejected keys are probed: by a node, at their own provider
				c.behave(secret(0), fakellm.Behaviour{Status: 401, Times: 3})
				if err := router.SetKey(routed(1), fakellm.Behaviour{Status: 401, Times: 3}); err != nil {
					t.Fatal(err)
				}
			}
			node := []string{"eu-1", "us-1"}[n%2] + []string{"", "/openrouter"}[n/2%2]
			if got := c.chat(node, token, fmt.Sprint("r", n), n%3 == 0); !got.ok() {
				t.Fatalf("%s: %v", node, got)
			}
			c.as(token).try("GET", "/openrouter/v1/models", "")
		}
		time.Sleep(2 * time.Hour) // probes and re-entries
		report(t, fakellm.UnexpectedKeys(c.upstream.Ledger(), own...))
		report(t, fakellm.UnexpectedKeys(router.Ledger(), strange...))
		for name, u := range map[string]*fakellm.Upstream{"ollama": c.upstream, "openrouter": router} {
			asked, probed, attempts := 0, 0, len(fakellm.Attempts(u.Ledger()))
			for _, e := range u.Ledger() {
				switch {
				case e.Probe && e.Start.Before(begin):
					asked++
				case e.Probe:
					probed++
				}
			}
			if asked < 10 || probed < 2 || attempts < 150 {
				t.Errorf("%s had %d questions about keys, %d probes and %d attempts: the test proves nothing", name, asked, probed, attempts)
			}
		}

		// Bulk deletes, under the wrong name and under the right one.
		all := `"apiKeys":["` + strings.Join(strange, `","`) + `"]`
		var gone struct{ Deleted, NotFound int }
		if c.admin("DELETE", "/admin/api-keys?provider=ollama", `{`+all+`}`, &gone); gone.Deleted != 0 || gone.NotFound != 10 {
			t.Errorf("under ollama's name %+v", gone)
		}
		if c.admin("DELETE", "/admin/api-keys", `{`+all+`,"provider":"openrouter"}`, &gone); gone.Deleted != 5 {
			t.Errorf("under openrouter's name %+v", gone)
		}
		if n := c.countKeys("ollama"); n != 4 {
			t.Errorf("ollama is left with %d keys, want 4", n)
		}
	})
}

func (o *operator) countKeys(provider string) int {
	o.t.Helper()
	var list struct{ Total int }
	o.admin("GET", "/admin/api-keys?pageSize=1&provider="+provider, "", &list)
	return list.Total
}

// A token that lets one node in lets one node in, however many race for it, and nobody after it.
func TestPredecessor_C14(t *testing.T) {
	bubble(t, nil, func(c *cluster) {
		token := c.joinToken(`{}`)
		const racers = 50
		name := func(n int) string { return fmt.Sprintf("racer-%02d", n) }
		for n := range racers {
			c.joining(name(n)+"@eu-west", token)
		}
		time.Sleep(10 * time.Second)
		in := 0
		for n := range racers {
			switch got := c.get("http://" + name(n) + "-ops/readyz"); {
			case got.ok():
				in++
			case !strings.Contains(got.body, "no valid join token"):
				t.Errorf("one that lost says %v", got)
			}
		}
		c.joining("late@eu-west", token)
		time.Sleep(5 * time.Second)
		var list struct{ Nodes []struct{ ID string } }
		c.admin("GET", "/admin/nodes", "", &list)
		if in != 1 || len(list.Nodes) != 1 || list.Nodes[0].ID == "late" {
			t.Errorf("%d of %d nodes got in with a token for one; the control plane knows %v", in, racers, list.Nodes)
		}
	})
}

// A credential goes to the origin that it belongs to. Wherever an upstream sends its callers, nobody follows it there.
func TestPredecessor_C15(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		var elsewhere, here atomic.Int64
		second := c.serve("second", func(w http.ResponseWriter, _ *http.Request) { elsewhere.Add(1) })
		status := new(atomic.Int64)
		c.serve("first", func(w http.ResponseWriter, r *http.Request) {
			here.Add(1)
			h := w.Header()
			h.Set("Location", second+r.URL.Path)
			h.Set("Content-Location", second+r.URL.Path)
			h.Set("Refresh", "0; url="+second+r.URL.Path)
			h.Set("Link", "<"+second+">; rel=preconnect, <"+second+"/x>; rel=preload")
			h.Set("Alt-Svc", `http/1.1="second:80"; ma=86400, h2="second:443"; ma=86400`)
			h.Set("Content-Type", "application/json")
			w.WriteHeader(int(status.Load()))
			_, _ = io.WriteString(w, `{"error":null,"object":"list","data":[],"choices":[],"models":[],"url":"`+second+`"}`)
		})
		ids := map[string]string{}
		for _, provider := range []string{"ollama", "openrouter"} {
			c.admin("PATCH", "/admin/providers/"+provider, `{"baseUrl":"http://first","allowPrivateAddresses":true}`, nil)
			var made struct{ APIKey struct{ ID string } }
			c.admin("POST", "/admin/api-keys?provider="+provider, `{"apiKey":"sk-redirected-canary-`+provider+`"}`, &made)
			ids[provider] = made.APIKey.ID
		}
		token := c.addToken("redirected")
		for _, code := range []int{300, 301, 302, 303, 307, 308, 200, 401, 429, 503} {
			status.Store(int64(code))
			for provider, id := range ids {
				key, prefix := quoted(fmt.Sprintf("sk-redirected-%s-%d", provider, code)), map[string]string{"openrouter": "/openrouter"}[provider]
				ask := func(who string, do func() answer) {
					before := here.Load()
					if do(); here.Load() == before {
						t.Errorf("%s of %s with %d asks nobody: the test proves nothing", who, provider, code)
					}
				}
				ask("an import", func() answer {
					return c.try("POST", "/admin/api-keys/import-with-validation?provider="+provider, `{"content":`+key+`,"dryRun":true}`)
				})
				ask("verification", func() answer { return c.try("POST", "/admin/verify-key?provider="+provider, `{"apiKey":`+key+`}`) })
				ask("a check", func() answer {
					return c.try("POST", "/admin/keys/health-check", `{"ids":["`+id+`"],"apply":false}`)
				})
				c.admin("POST", "/admin/keys/enable", `{"id":"`+id+`"}`, nil)
				ask("a list of models", func() answer { return c.as(token).try("GET", prefix+"/v1/models", "") })
				for _, stream := range []bool{false, true} {
					c.admin("POST", "/admin/keys/enable", `{"id":"`+id+`"}`, nil)
					ask("a chat", func() answer { return c.chat("eu-1"+prefix, token, "r", stream) })
				}
			}
			time.Sleep(10 * time.Minute) // probes; and the lists of models get old
			if code < 400 && code >= 300 {
				for provider, id := range ids {
					if got, why := c.keyStatus(id); got != "active" {
						t.Errorf("for a redirect by its upstream a key of %s is %s (%s)", provider, got, why)
					}
				}
			}
		}
		if n := elsewhere.Load(); n != 0 {
			t.Errorf("the other server had %d requests", n)
		}
		// One who follows gets there: there is something to be kept from.
		status.Store(307)
		resp, err := c.client.Post("http://first/v1/chat/completions", "application/json", strings.NewReader("{}"))
		if err != nil || resp.Body.Close() != nil || elsewhere.Load() != 1 {
			t.Errorf("one who follows: %v, %d requests", err, elsewhere.Load())
		}
	})
}

// serve has an upstream of the test's own making answer under a name.
func (c *cluster) serve(name string, answer http.HandlerFunc) (url string) {
	l := c.net.listen(name)
	web := &http.Server{Handler: answer}
	c.wg.Go(func() { _ = web.Serve(l) })
	c.also = append(c.also, web)
	return "http://" + name
}

// Whatever strangers, clients and operators make up, it makes no metric: after ten times as much nonsense there are no more
// series than before, and none that holds a word of it. (The rows of the statistics are bounded in package stats.)
func TestPredecessor_C13(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.serve("anything", func(w http.ResponseWriter, _ *http.Request) { // serves every model there is
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`)
		})
		c.admin("POST", "/admin/providers", `{"id":"anything","baseUrl":"http://anything","dialect":"openai","allowPrivateAddresses":true}`, nil)
		c.admin("POST", "/admin/api-keys?provider=anything", `{"apiKey":"`+secret(1)+`"}`, nil)
		c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("fuzz")
		n, served := 0, 0
		nonsense := func(times int) {
			for range times {
				n++
				word := fmt.Sprintf("nonsense-%d", n)
				body := `{"model":"` + word + `","messages":[{"role":"user","content":"` + word + `"}]}`
				node := c.as(token)
				for _, got := range []answer{
					node.try("POST", "/anything/v1/chat/completions", body),
					node.try("POST", "/v1/chat/completions", body),
					node.try("POST", "/"+word+"/v1/chat/completions", body),
					node.try("GET", "/"+word, ""),
					node.try(strings.ToUpper(word), "/v1/models", ""),
					c.as("sk-"+word+"-0123456789abcdefghijk").try("GET", "/v1/models?"+word+"="+word, ""),
					c.try("GET", "/admin/"+word+"?"+word+"=1", ""),
					c.try("GET", "/admin/api-keys?provider="+word+"&search="+word, ""),
					c.try("POST", "/admin/api-keys?provider="+word, `{"apiKey":"`+word+word+`"}`),
					c.try(strings.ToUpper(word), "/admin/stats", ""),
				} {
					if got.err != nil {
						t.Fatalf("%s: %v", word, got)
					}
					if got.ok() {
						served++
					}
				}
			}
			time.Sleep(10 * time.Second)
		}
		count := func(url string) int {
			at := *c.operator
			at.base = url
			page := at.try("GET", "/metrics", "")
			if !page.ok() || strings.Contains(page.body, "nonsense") {
				t.Errorf("%s: %v %s", url, page.status, grep(page.body, "nonsense"))
			}
			series := 0
			for line := range strings.Lines(page.body) {
				if !strings.HasPrefix(line, "#") {
					series++
				}
			}
			return series
		}
		pages := []string{c.base, "http://eu-1-ops"}
		var before []int
		nonsense(20)
		for _, url := range pages {
			before = append(before, count(url))
		}
		nonsense(200)
		for i, url := range pages {
			if got := count(url); got > before[i] || got > 2000 || got < 50 {
				t.Errorf("%s has %d series, %d before", url, got, before[i])
			}
		}
		if f := c.stats(); served < 220 || int(f.SuccessCount) < 220 {
			t.Errorf("%d requests were served and %v counted: the test proves nothing", served, f.SuccessCount)
		}
		t.Logf("series: %v", before)
	})
}
