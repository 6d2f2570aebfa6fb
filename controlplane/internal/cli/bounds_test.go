package cli_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

// keyNow answers the one key that there is, as the API has it.
func (term *terminal) keyNow() map[string]any {
	term.t.Helper()
	out, _ := term.want(0, "keys", "list", "-o", "json")
	var all struct {
		APIKeys []map[string]any `json:"apiKeys"`
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all.APIKeys) != 1 {
		term.t.Fatalf("%v: %s", err, out)
	}
	return all.APIKeys[0]
}

// connect adds a node that is connected and hears only what the test reads.
func (term *terminal) connect(id pool.NodeID) *pool.Session {
	term.t.Helper()
	if _, err := term.st.Update(term.t.Context(), func(tx *store.Tx) error {
		return tx.PutNode(pool.NodeRecord{ID: id, Region: "eu", Epoch: 1, JoinTime: time.Now()})
	}); err != nil {
		term.t.Fatal(err)
	}
	return term.pool.Attach(time.Now(), pool.Hello{Node: id, Epoch: 1})
}

func TestKeysWithBounds(t *testing.T) {
	term := start(t)
	for _, row := range []struct {
		args   []string
		fields map[string]string
	}{
		{nil, map[string]string{"group": "", "maxStale": "0", "limits": "<nil>"}},
		{
			[]string{
				"--group", "account", "--max-stale", "1m", "--requests-per-minute", "60", "--tokens-per-minute", "90000",
				"--max-concurrent", "3", "--requests-per-day", "1000", "--tokens-per-day", "5000000000", "--hard",
			},
			map[string]string{
				"group": "account", "maxStale": "60",
				"limits": "map[maxConcurrent:3 policy:hard requestsPerDay:1000 requestsPerMinute:60 tokensPerDay:5e+09 tokensPerMinute:90000]",
			},
		},
	} {
		if out, errs, code := term.run(secret+"one", append([]string{"keys", "add", "-"}, row.args...)...); code != 0 {
			t.Fatalf("%v: exit %d\n%s%s", row.args, code, out, errs)
		}
		key := term.keyNow()
		for name, want := range row.fields {
			if got := fmt.Sprint(key[name]); got != want {
				t.Errorf("%v: %s is %s, want %s", row.args, name, got, want)
			}
		}
		term.want(0, "keys", "delete", fmt.Sprint(key["id"]))
	}
	for _, row := range []struct{ flag, value, names string }{
		{"--max-stale", "1500ms", "maxStale: must be a whole number"},
		{"--max-stale", "5s", "maxStale: must be 0, or at least 15"},
		{"--max-concurrent", "-1", "limits.maxConcurrent"},
		{"--group", " canary", "group: has white space"},
	} {
		if _, errs, code := term.run(secret+"one", "keys", "add", "-", row.flag, row.value); code != 1 || !strings.Contains(errs, row.names) {
			t.Errorf("%s %s: exit %d, %s", row.flag, row.value, code, errs)
		}
	}
}

func TestTokensWithBudgets(t *testing.T) {
	term := start(t)
	term.want(0, "tokens", "create", "ci", "--requests-per-day", "1000", "--tokens-per-month", "7000000000", "--strict")
	id := fmt.Sprint(term.tokenNow()["id"])
	const all = "map[requestsPerDay:%v requestsPerMonth:%v tokensPerDay:%v tokensPerMonth:%v]"
	for _, step := range []struct {
		args                []string
		budget, policy, row string
	}{
		{nil, fmt.Sprintf(all, 1000, 0, 0, 7e9), "strict", "1000 req/day, 7000000000 tok/month, strict  ci"},
		{[]string{"--tokens-per-day", "500"}, fmt.Sprintf(all, 1000, 0, 500, 7e9), "strict", "1000 req/day, 500 tok/day, 7000000000 tok/month, strict  ci"},
		{[]string{"--strict=false"}, fmt.Sprintf(all, 1000, 0, 500, 7e9), "adaptive", "1000 req/day, 500 tok/day, 7000000000 tok/month  ci"},
		{[]string{"--requests-per-day", "0", "--tokens-per-month", "0"}, fmt.Sprintf(all, 0, 0, 500, 0), "adaptive", "500 tok/day  ci"},
		{[]string{"--requests-per-month", "9", "--tokens-per-day", "0"}, fmt.Sprintf(all, 0, 9, 0, 0), "adaptive", "9 req/month  ci"},
		{[]string{"--requests-per-month", "0"}, "<nil>", "adaptive", "-        -       ci"},
	} {
		if step.args != nil {
			term.want(0, append([]string{"tokens", "update", id}, step.args...)...)
		}
		token := term.tokenNow()
		if got := fmt.Sprint(token["budget"]); got != step.budget {
			t.Errorf("%v: the budget is %s, want %s", step.args, got, step.budget)
		}
		if got := token["limits"].(map[string]any)["policy"]; got != step.policy {
			t.Errorf("%v: the policy is %s, want %s", step.args, got, step.policy)
		}
		if out, _ := term.want(0, "tokens", "list"); !strings.Contains(out, step.row) {
			t.Errorf("%v: the list has no %q:\n%s", step.args, step.row, out)
		}
	}
	if _, errs := term.want(1, "tokens", "update", id, "--tokens-per-day", "-1"); !strings.Contains(errs, "budget.tokensPerDay") {
		t.Errorf("a budget below 0: %s", errs)
	}
}

// A node that hears nothing can be drained, and is said not to have stopped when it is evicted.
func TestNodeOrders(t *testing.T) {
	term := start(t)
	if _, err := term.st.Update(t.Context(), func(tx *store.Tx) error {
		return tx.PutNode(pool.NodeRecord{ID: "never", Region: "us", JoinTime: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	s := term.connect("deaf")
	for _, row := range []struct{ order, state string }{{"drain", "draining"}, {"resume", "live"}} {
		out, errs := term.want(0, "nodes", row.order, "deaf")
		if !regexp.MustCompile(`(?m)^deaf +eu .* `+row.state+` `).MatchString(out) || errs != "" {
			t.Errorf("%s:\n%s%s", row.order, out, errs)
		}
	}
	out, errs := term.want(3, "nodes", "evict", "deaf", "--wait", "100ms")
	if !strings.Contains(out, "evicted") || !strings.Contains(errs, "not confirmed yet: deaf") {
		t.Errorf("evict:\n%s%s", out, errs)
	}
	term.pool.Detach(time.Now(), s, false, nil)
	if _, errs = term.want(3, "nodes", "evict", "deaf"); !strings.Contains(errs, "out of reach: deaf stops by 20") {
		t.Errorf("evict out of reach: %s", errs)
	}
	if _, errs = term.want(0, "nodes", "evict", "never"); !strings.Contains(errs, "confirmed by never") {
		t.Errorf("evict one that holds nothing: %s", errs)
	}
	if _, errs = term.want(1, "nodes", "resume", "deaf"); !strings.Contains(errs, "cannot be undone") {
		t.Errorf("resume one that was evicted: %s", errs)
	}
	for _, order := range []string{"drain", "resume", "evict"} {
		term.want(2, "nodes", order)
		term.want(2, "nodes", order, "a", "b")
		term.want(5, "nodes", order, "nobody")
	}
	t.Setenv("APIPOOL_ADMIN_TOKEN", viewToken)
	term.want(4, "nodes", "drain", "deaf")
}

// What is under way is cut if the command says so, and the nodes are told that with the key.
func TestKeysThatHaveLeaked(t *testing.T) {
	term := start(t)
	out, _, _ := term.run(secret+"one\n"+secret+"two\n"+secret+"three\n"+secret+"four\n", "keys", "add", "-")
	ids := keyID.FindAllString(out, -1)
	s := term.connect("a")
	for s.Next(time.Now()) != nil { // the sync
	}
	term.want(3, "keys", "disable", ids[0], "--wait", "0")
	term.want(3, "keys", "disable", ids[1], "--wait", "0", "--cancel-in-flight")
	term.want(3, "keys", "delete", ids[2], "--wait", "0", "--cancel-in-flight")
	var cut []string
	for o := s.Next(time.Now()); o != nil; o = s.Next(time.Now()) {
		if o.Health != nil {
			for _, k := range o.Health.Keys {
				if k.Cut {
					cut = append(cut, k.Key.String())
				}
			}
		}
		if o.Delta != nil && fmt.Sprint(o.Delta.RemovedKeysCut) == "[true]" {
			cut = append(cut, o.Delta.RemovedKeys[0].String())
		}
	}
	if fmt.Sprint(cut) != fmt.Sprint(ids[1:3]) {
		t.Errorf("cut are %v, want %v", cut, ids[1:3])
	}
}
