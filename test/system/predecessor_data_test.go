package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Requests that come all at once are all counted, and the sum of what nodes report is the sum of what is stored, whoever
// stops in between. (TestProcessControlPlaneIsKilledUnderLoad is the same with kill -9.)
func TestPredecessor_B1(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		for n := range 8 {
			b := fakellm.Behaviour{Delay: 100 * time.Millisecond} // so that they are under way at the same time
			if n == 0 {
				b = fakellm.Behaviour{Script: []fakellm.Behaviour{{Status: 500}, {}, {}, {Status: 500}, {}}}
			}
			c.addKey(secret(n), b)
		}
		token := c.addToken("sum")
		var sent int
		var good atomic.Int64
		hundred := func(nodes ...string) {
			var clients sync.WaitGroup
			for n := range 100 {
				sent++
				clients.Go(func() {
					if c.chat(nodes[n%len(nodes)], token, fmt.Sprint("r", n), n%2 == 0).ok() {
						good.Add(1)
					}
				})
			}
			clients.Wait()
		}
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"a hundred at once", func() { hundred("eu-1", "us-1") }},
			{"the control plane stops before they are reported", func() {
				hundred("eu-1", "us-1")
				c.stopControl()
				hundred("us-1", "eu-1")
				time.Sleep(2 * time.Minute)
				c.startControl()
			}},
			{"what one node reports is counted, and it does not hear of it", func() {
				c.net.deafen("eu-1", "control")
				hundred("eu-1", "us-1")
				time.Sleep(3 * time.Second)
				c.net.sever("eu-1", "control")
				c.net.mend("eu-1", "control")
			}},
			{"a node stops right after its requests", func() {
				hundred("eu-1", "us-1")
				c.stopNode("us-1")
				hundred("eu-1")
				c.startNode("us-1@us-east")
				c.ready("us-1")
			}},
			{"a link breaks, and both planes stop", func() {
				c.net.sever("eu-1", "control")
				hundred("eu-1", "us-1")
				c.stopControl()
				c.startControl()
				c.net.mend("eu-1", "control")
				hundred("us-1", "eu-1")
			}},
		} {
			step.do()
			time.Sleep(30 * time.Second) // until links are up again, and all is reported
			ledger := c.upstream.Ledger()
			got, tries := c.sums(), len(fakellm.Attempts(ledger))
			want := sums{
				requests: sent, success: int(good.Load()), attempts: tries, byKey: tries, byKeyAndHour: tries, byToken: sent,
				byProvider: sent, byModel: sent, byHour: sent,
			}
			if got != want {
				t.Errorf("%s: counted %+v, want %+v", step.name, got, want)
			}
		}
		if good.Load() < int64(sent) || len(fakellm.Attempts(c.upstream.Ledger())) == sent {
			t.Errorf("of %d requests %d were answered, in as many attempts: the test proves nothing", sent, good.Load())
		}
	})
}

// sums are the same things, added up in several ways.
type sums struct {
	requests, success, attempts, byKey, byKeyAndHour, byToken, byProvider, byModel, byHour int
}

func (o *operator) sums() (s sums) {
	o.t.Helper()
	var all struct {
		TotalRequests, SuccessCount, UpstreamAttempts int
		Providers, Models, Hours                      []struct{ TotalRequests int }
	}
	o.admin("GET", "/admin/stats", "", &all)
	s.requests, s.success, s.attempts = all.TotalRequests, all.SuccessCount, all.UpstreamAttempts
	for _, p := range all.Providers {
		s.byProvider += p.TotalRequests
	}
	for _, m := range all.Models {
		s.byModel += m.TotalRequests
	}
	for _, h := range all.Hours {
		s.byHour += h.TotalRequests
	}
	var keys struct {
		Keys []struct {
			Stats struct{ Total int }
			Hours []struct{ Total int }
		}
	}
	o.admin("GET", "/admin/keys/stats?pageSize=1000", "", &keys)
	for _, k := range keys.Keys {
		s.byKey += k.Stats.Total
		for _, h := range k.Hours {
			s.byKeyAndHour += h.Total
		}
	}
	var tokens struct {
		ClientTokens []struct{ Stats struct{ Total int } }
	}
	o.admin("GET", "/admin/tokens", "", &tokens)
	for _, t := range tokens.ClientTokens {
		s.byToken += t.Stats.Total
	}
	return s
}

// A node that cannot ask its control plane says so: "I do not know this token" is 503, to be tried again, and never 401.
// What it knows goes on. (The disk that is full is in the tests of package store.)
func TestPredecessor_B4(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), fakellm.Behaviour{})
		token, carried, gone := c.addToken("known"), "sk-0123456789ABCDEFGHIJcarried", c.addToken("gone")
		c.admin("POST", "/admin/tokens", fmt.Sprintf(`{"name":"carried","token":%q}`, carried), nil)
		c.admin("DELETE", "/admin/tokens", fmt.Sprintf(`{"token":%q}`, gone), nil)
		const stranger, malformed = "sk-0123456789ABCDEFGHIJstranger", "sk-pool-0123456789ABCDEFGHIJ"
		want := func(when string, status map[string]int) {
			t.Helper()
			for credential, want := range status {
				for _, path := range []string{"/v1/chat/completions", "/v1/models"} {
					got := c.asks(credential, path)
					if got.status != want || (want == 503) != (got.header.Get("Retry-After") != "") {
						t.Errorf("%s, …%s at %s: %v, Retry-After %q, want %d", when, credential[len(credential)-4:], path, got, got.header.Get("Retry-After"), want)
					}
				}
			}
		}
		want("with the control plane", map[string]int{token: 200, carried: 200, gone: 401, stranger: 401, malformed: 401})
		c.stopControl()
		time.Sleep(time.Minute)
		without := map[string]int{token: 200, carried: 200, gone: 503, stranger: 503, malformed: 401}
		want("without it", without)
		time.Sleep(3 * time.Hour)
		want("after three hours without it", without)
		time.Sleep(2 * time.Hour) // lease and grace are over
		want("after the grace", map[string]int{token: 503, carried: 503, gone: 503, stranger: 503, malformed: 401})
		c.stopNode("eu-1")
		c.startNode("eu-1@eu-west")
		time.Sleep(time.Minute)
		want("started without it", map[string]int{token: 503, carried: 503, gone: 503, stranger: 503, malformed: 401})
		c.startControl()
		c.ready("eu-1")
		want("with it again", map[string]int{token: 200, carried: 200, gone: 401, stranger: 401, malformed: 401})
		if f := c.stats(); f.TotalAPIKeys != 1 || f.ActiveKeys != 1 {
			t.Errorf("meanwhile the pool has come to %+v", f)
		}
	})
}

// asks sends the smallest request of a client to node eu-1.
func (c *cluster) asks(token, path string) answer {
	if strings.HasSuffix(path, "/models") {
		return c.as(token).try("GET", path, "")
	}
	return c.as(token).try("POST", path, fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel))
}

// There is a backup that restores, and no failure of a test is swallowed.
func TestPredecessor_B8(t *testing.T) {
	t.Run("a copy of the data directory restores the pool", restoresFromACopy)
	t.Run("what CI runs stops at the first failure", stopsAtTheFirstFailure)
}

// Started from a copy of its directory, the control plane is the same pool in everything it tells, its nodes know it, and
// its secrets open.
func restoresFromACopy(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "us-1@us-east"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("us-1")
		c.admin("PATCH", "/admin/providers/openrouter", `{"baseUrl":"http://router/api","allowPrivateAddresses":true}`, nil)
		router := c.another("router", fakellm.OpenRouter)
		c.admin("POST", "/admin/providers", `{"id":"mine","baseUrl":"https://mine.example","dialect":"openai","headers":{"x-team":"7"}}`, nil)
		for n := range 5 {
			c.addKey(secret(n), fakellm.Behaviour{})
		}
		c.behave(secret(4), fakellm.Behaviour{Status: 401})
		if err := router.SetKey(secret(5), fakellm.Behaviour{}); err != nil {
			t.Fatal(err)
		}
		c.admin("POST", "/admin/api-keys/import-from-txt?provider=openrouter", `{"content":"ann@example.com----pw----session----`+secret(5)+`","ttl":86400}`, nil)
		c.admin("PATCH", "/admin/api-keys/"+c.keyOf(secret(0)), `{"label":"edited","models":["gpt*"],"weight":7}`, nil)
		c.admin("POST", "/admin/keys/disable", `{"id":"`+c.keyOf(secret(1))+`","note":"on leave"}`, nil)
		deleted := c.keyOf(secret(2))
		c.admin("DELETE", "/admin/api-keys/"+deleted, "", nil)
		token := c.addToken("backup")
		const carried = "sk-0123456789ABCDEFGHIJcarried"
		c.admin("POST", "/admin/tokens", fmt.Sprintf(`{"name":"carried","token":%q,"provider":"openrouter"}`, carried), nil)
		for n := range 20 {
			c.chat([]string{"eu-1", "us-1"}[n%2], token, fmt.Sprint("r", n), n%2 == 0)
			c.chat("eu-1/openrouter", carried, fmt.Sprint("o", n), false)
		}
		time.Sleep(time.Minute)

		c.stopNode("us-1") // one node stays, and has to find its control plane again
		before := c.everything()
		c.stopControl()
		data, backup := filepath.Join(c.dir, "control"), filepath.Join(c.dir, "backup")
		copyFolder(t, data, backup)
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(backup, data); err != nil {
			t.Fatal(err)
		}
		c.startControl()
		time.Sleep(time.Minute)

		after := c.everything()
		for page, want := range before {
			if got := after[page]; got != want {
				t.Errorf("%s was\n%s\nand is\n%s", page, want, got)
			}
		}
		c.startNode("us-1@us-east") // by the certificate that it has from before
		c.ready("us-1")
		for _, r := range []struct{ node, token string }{{"eu-1", token}, {"us-1", token}, {"us-1/openrouter", carried}} {
			if got := c.chat(r.node, r.token, "after", false); !got.ok() {
				t.Errorf("%s after the restore: %v", r.node, got)
			}
		}
		c.admin("POST", "/admin/api-keys/"+deleted+":restore", "", nil)
		if got := c.try("POST", "/admin/api-keys", `{"apiKey":"`+secret(5)+`"}`); got.status != 409 {
			t.Errorf("a key that is there is not found by its secret: %v", got)
		}
	})
}

// everything is what the control plane tells, but for what changes by itself.
func (o *operator) everything() map[string]string {
	o.t.Helper()
	all := map[string]string{}
	for _, page := range []string{
		"/admin/api-keys", "/admin/keys/stats", "/admin/tokens", "/admin/providers", "/admin/stats", "/health", "/admin/public-stats",
	} {
		got := o.try("GET", page, "")
		if !got.ok() || len(got.body) < 50 {
			o.t.Fatalf("%s: %v", page, got)
		}
		all[page], _, _ = strings.Cut(got.body, `,"asOfTime"`)
	}
	var nodes struct{ Nodes []struct{ ID, Region string } }
	o.admin("GET", "/admin/nodes", "", &nodes)
	all["/admin/nodes"] = fmt.Sprint(nodes)
	return all
}

// The scripts run here with a make or go that only notes how it is called, and fails when told to.
func stopsAtTheFirstFailure(t *testing.T) {
	for _, row := range []struct{ script, tool, fails string }{
		{".ci/run", "make", "deps"},
		{".ci/run", "make", "check"},
		{".ci/run", "make", "test"},
		{".ci/run", "make", "test-faults"},
		{".ci/run", "make", ""},
		{"test/run.sh all", "go", "test"},
		{"test/run.sh faults", "go", "test"},
		{"test/run.sh fuzz", "go", "test"},
		{"test/run.sh canary", "go", "(the word is none of its own)"},
	} {
		dir := t.TempDir()
		fake := fmt.Sprintf("#!/usr/bin/env bash\necho \"$1\" >>%s/calls\n[ \"$1\" != %q ]\n", dir, row.fails)
		if err := os.WriteFile(filepath.Join(dir, row.tool), []byte(fake), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash", strings.Fields(row.script)...)
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		text, _ := os.ReadFile(filepath.Join(dir, "calls"))
		calls := strings.Fields(string(text))
		last := slices.Index(calls, row.fails)
		if (err != nil) != (row.fails != "") || last >= 0 && last < len(calls)-1 || row.tool == "make" && row.fails != "" && last < 0 {
			t.Errorf("%s, where %q fails: %v after the calls %q\n%s", row.script, row.fails, err, calls, out)
		}
	}
}
