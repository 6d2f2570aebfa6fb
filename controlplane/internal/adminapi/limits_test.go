package adminapi_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const keyBounds = `"group":"account","maxStale":60,` +
	`"limits":{"requestsPerMinute":60,"tokensPerMinute":90000,"maxConcurrent":3,"requestsPerDay":1000,"tokensPerDay":5000000000,"policy":"hard"}`

func TestKeyLimits(t *testing.T) {
	f := start(t)
	plain := f.must("GET", "/admin/api-keys/"+f.addKey("plain", ""), "")
	f.want(plain, "<nil>", "limits")
	f.want(plain, "", "group")
	f.want(plain, "0", "maxStale")

	made := at(f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("bound")+`",`+keyBounds+`}`), "apiKey").(object)
	path := "/admin/api-keys/" + made["id"].(string)
	for _, key := range []object{made, f.must("GET", path, "")} {
		f.want(key, "account", "group")
		f.want(key, "60", "maxStale")
		f.want(key, "map[maxConcurrent:3 policy:hard requestsPerDay:1000 requestsPerMinute:60 tokensPerDay:5e+09 tokensPerMinute:90000]", "limits")
	}
	id, err := pool.ParseKeyID(made["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	want := pool.Limits{RequestsPerMinute: 60, TokensPerMinute: 90000, MaxConcurrent: 3, RequestsPerDay: 1000, TokensPerDay: 5_000_000_000, Hard: true}
	if v, _ := f.pool.KeyView(id); v.Key.Limits != want || v.Key.Group != "account" || v.Key.MaxStale != time.Minute {
		t.Errorf("the pool has %+v", v.Key)
	}
	if k := f.stored(id); k.Limits != want || k.Group != "account" || k.MaxStale != time.Minute {
		t.Errorf("the store has %+v", k)
	}

	const all = "map[maxConcurrent:%v policy:%v requestsPerDay:%v requestsPerMinute:%v tokensPerDay:%v tokensPerMinute:%v]"
	for _, row := range []struct{ body, group, stale, limits string }{
		{`{"limits":{"maxConcurrent":10}}`, "account", "60", fmt.Sprintf(all, 10, "hard", 1000, 60, 5e9, 90000)},
		{`{"limits":{"tokens_per_day":1e12}}`, "account", "60", fmt.Sprintf(all, 10, "hard", 1000, 60, 1e12, 90000)},
		{`{"limits":{"policy":"soft","requestsPerDay":0}}`, "account", "60", fmt.Sprintf(all, 10, "soft", 0, 60, 1e12, 90000)},
		{`{"group":"другая"}`, "другая", "60", fmt.Sprintf(all, 10, "soft", 0, 60, 1e12, 90000)},
		{`{"maxStale":15.0}`, "другая", "15", fmt.Sprintf(all, 10, "soft", 0, 60, 1e12, 90000)},
		{`{"limits":null}`, "другая", "15", "<nil>"},
		{`{"group":null,"limits":{"maxConcurrent":1}}`, "", "15", fmt.Sprintf(all, 1, "soft", 0, 0, 0, 0)},
		{`{"maxStale":null,"limits":{"maxConcurrent":0}}`, "", "0", "<nil>"},
	} {
		for _, key := range []object{f.must("PATCH", path, row.body), f.must("GET", path, "")} {
			f.want(key, row.group, "group")
			f.want(key, row.stale, "maxStale")
			f.want(key, row.limits, "limits")
		}
	}
	o := f.refuse("PATCH", path, `{"limits":{"maxConcurrent":9},"revision":"`+made["revision"].(string)+`"}`, 409, "REVISION_CONFLICT", "revision")
	if !slices.ContainsFunc(list(o, "details"), func(d object) bool { return d["id"] == made["id"] && d["limits"] == nil }) {
		t.Errorf("the conflict does not carry the key as it is: %v", o)
	}
}

func TestKeyLimitRefusals(t *testing.T) {
	f := start(t)
	before := f.must("GET", "/admin/api-keys/"+f.addKey("here", ","+keyBounds), "")
	path := "/admin/api-keys/" + before["id"].(string)
	for _, row := range []struct{ fields, reason, names string }{
		{`"limits":{"requestsPerMinute":-1}`, "INVALID_ARGUMENT", "limits.requestsPerMinute"},
		{`"limits":{"requestsPerMinute":1000001}`, "INVALID_ARGUMENT", "limits.requestsPerMinute"},
		{`"limits":{"requestsPerMinute":1.5}`, "MALFORMED_BODY", "limits.requestsPerMinute"},
		{`"limits":{"requestsPerMinute":"60"}`, "MALFORMED_BODY", "limits.requestsPerMinute"},
		{`"limits":{"tokensPerMinute":1000000001}`, "INVALID_ARGUMENT", "limits.tokensPerMinute"},
		{`"limits":{"maxConcurrent":1000001}`, "INVALID_ARGUMENT", "limits.maxConcurrent"},
		{`"limits":{"requestsPerDay":1000000001}`, "INVALID_ARGUMENT", "limits.requestsPerDay"},
		{`"limits":{"tokensPerDay":-1}`, "INVALID_ARGUMENT", "limits.tokensPerDay"},
		{`"limits":{"tokensPerDay":0.5}`, "INVALID_ARGUMENT", "limits.tokensPerDay: must be a whole number"},
		{`"limits":{"tokensPerDay":1000000000001}`, "INVALID_ARGUMENT", "limits.tokensPerDay"},
		{`"limits":{"tokensPerDay":1e999}`, "MALFORMED_BODY", "limits.tokensPerDay"},
		{`"limits":{"tokensPerDay":"5"}`, "MALFORMED_BODY", "limits.tokensPerDay"},
		{`"limits":{"policy":"strict"}`, "INVALID_ARGUMENT", "limits.policy"}, // that is a token's word
		{`"limits":{"requestsPerMonth":5}`, "MALFORMED_BODY", "limits.requestsPerMonth: unknown field"},
		{`"limits":{"maxConcurrent":7,"tokensPerDay":0.5}`, "INVALID_ARGUMENT", "limits.tokensPerDay"},
		{`"limits":[]`, "MALFORMED_BODY", "limits"},
		{`"maxStale":-1`, "INVALID_ARGUMENT", "maxStale"},
		{`"maxStale":14`, "INVALID_ARGUMENT", "maxStale: must be 0, or at least 15"},
		{`"maxStale":0.0001`, "INVALID_ARGUMENT", "maxStale: must be a whole number"},
		{`"maxStale":60.5`, "INVALID_ARGUMENT", "maxStale: must be a whole number"},
		{`"maxStale":86401`, "INVALID_ARGUMENT", "maxStale"},
		{`"maxStale":"60s"`, "MALFORMED_BODY", "maxStale"},
		{`"group":" canary"`, "INVALID_ARGUMENT", "group: has white space"},
		{`"group":"canary\u00a0"`, "INVALID_ARGUMENT", "group: has white space"},
		{`"group":"can\u001bary"`, "INVALID_ARGUMENT", "group: holds a control"},
		{`"group":"can\u202eary"`, "INVALID_ARGUMENT", "group: holds a control"},
		{`"group":"` + strings.Repeat("x", 101) + `"`, "INVALID_ARGUMENT", "group"},
		{`"group":7`, "MALFORMED_BODY", "group"},
	} {
		f.refuse("PATCH", path, "{"+row.fields+"}", 400, row.reason, row.names)
		f.refuse("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("new")+`",`+row.fields+`}`, 400, row.reason, row.names)
	}
	if now := f.must("GET", path, ""); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("something was changed:\n%v\n%v", before, now)
	}
	f.want(f.must("GET", "/admin/api-keys", ""), "1", "total")
}

func TestTokenBudgets(t *testing.T) {
	f := start(t)
	id := f.makeToken(`{"name":"x","limits":{"maxConcurrent":4,"policy":"strict"},"budget":{"requestsPerDay":1000,"tokensPerMonth":7000000000}}`)
	path := "/admin/tokens/" + id
	const all = "map[requestsPerDay:%v requestsPerMonth:%v tokensPerDay:%v tokensPerMonth:%v]"
	f.want(f.onlyToken(), fmt.Sprintf(all, 1000, 0, 0, 7e9), "budget")
	f.want(f.onlyToken(), "strict", "limits", "policy")
	parsed, err := pool.ParseTokenID(id)
	if err != nil {
		t.Fatal(err)
	}
	if kept, _ := f.pool.Token(parsed); kept.Limits != (pool.Limits{MaxConcurrent: 4, RequestsPerDay: 1000, TokensPerMonth: 7_000_000_000, Hard: true}) {
		t.Errorf("the pool has %+v", kept.Limits)
	}
	for _, row := range []struct{ body, budget, concurrent, policy string }{
		{`{"budget":{"requestsPerDay":5}}`, fmt.Sprintf(all, 5, 0, 0, 7e9), "4", "strict"},
		{`{"budget":{"tokensPerDay":1e12,"requests_per_month":8}}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "4", "strict"},
		{`{"limits":{"policy":"adaptive"}}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "4", "adaptive"},
		{`{"limits":{"maxConcurrent":2}}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "2", "adaptive"},
		{`{"limits":{"policy":"strict"}}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "2", "strict"},
		{`{"limits":null}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "0", "adaptive"},
		{`{"limits":{"maxConcurrent":3}}`, fmt.Sprintf(all, 5, 8, 1e12, 7e9), "3", "adaptive"},
		{`{"budget":null}`, "<nil>", "3", "adaptive"},
		{`{"budget":{"tokensPerDay":6}}`, fmt.Sprintf(all, 0, 0, 6, 0), "3", "adaptive"},
		{`{"budget":{"tokensPerDay":0}}`, "<nil>", "3", "adaptive"},
	} {
		for _, token := range []object{f.must("PATCH", path, row.body), f.onlyToken()} {
			f.want(token, row.budget, "budget")
			f.want(token, row.concurrent, "limits", "maxConcurrent")
			f.want(token, row.policy, "limits", "policy")
		}
	}
	before := f.onlyToken()
	for _, row := range []struct{ fields, reason, names string }{
		{`"budget":{"requestsPerDay":-1}`, "INVALID_ARGUMENT", "budget.requestsPerDay"},
		{`"budget":{"requestsPerDay":1000000001}`, "INVALID_ARGUMENT", "budget.requestsPerDay"},
		{`"budget":{"requestsPerMonth":0.5}`, "MALFORMED_BODY", "budget.requestsPerMonth"},
		{`"budget":{"tokensPerDay":0.5}`, "INVALID_ARGUMENT", "budget.tokensPerDay: must be a whole number"},
		{`"budget":{"tokensPerMonth":2.5}`, "INVALID_ARGUMENT", "budget.tokensPerMonth: must be a whole number"},
		{`"budget":{"tokensPerMonth":1000000000001}`, "INVALID_ARGUMENT", "budget.tokensPerMonth"},
		{`"budget":{"tokensPerMonth":"5"}`, "MALFORMED_BODY", "budget.tokensPerMonth"},
		{`"budget":{"requestsPerHour":1}`, "MALFORMED_BODY", "budget.requestsPerHour: unknown field"},
		{`"budget":{"policy":"strict"}`, "MALFORMED_BODY", "budget.policy: unknown field"},
		{`"limits":{"policy":"hard"}`, "INVALID_ARGUMENT", "limits.policy"}, // that is a key's word
	} {
		f.refuse("PATCH", path, "{"+row.fields+"}", 400, row.reason, row.names)
		f.refuse("POST", "/admin/tokens", `{"name":"new",`+row.fields+`}`, 400, row.reason, row.names)
	}
	f.refuse("PATCH", path, `{"budget":{"tokensPerDay":9},"revision":"1"}`, 409, "REVISION_CONFLICT", "revision")
	if now := f.onlyToken(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("something was changed:\n%v\n%v", before, now)
	}
}
