package adminapi_test

import (
	"testing"
)

func TestKeyLimits(t *testing.T) {
	f := start(t)
	id := f.addKey("canary", `,"group":"account","maxStale":60,"limits":{"requestsPerMinute":60,"maxConcurrent":3,"tokensPerDay":5000000000,"policy":"hard"}`)
	path := "/admin/api-keys/" + id
	shown := func() object { return f.must("GET", path, "") }
	f.want(shown(), "account", "group")
	f.want(shown(), "60", "maxStale")
	f.want(shown(), "map[maxConcurrent:3 policy:hard requestsPerDay:0 requestsPerMinute:60 tokensPerDay:5e+09 tokensPerMinute:0]", "limits")
	f.want(f.must("PATCH", path, `{"limits":{"maxConcurrent":10}}`), "60", "limits", "requestsPerMinute") // one part leaves the others
	f.want(shown(), "10", "limits", "maxConcurrent")
	f.want(f.must("PATCH", path, `{"group":"","maxStale":0,"limits":{"policy":"soft"}}`), "", "group")
	f.want(shown(), "soft", "limits", "policy")
	f.want(f.must("PATCH", path, `{"limits":null}`), "<nil>", "limits")
	for _, row := range []struct{ body, names string }{
		{`{"limits":{"requestsPerMinute":-1}}`, "requestsPerMinute"},
		{`{"limits":{"requestsPerMinute":1000001}}`, "requestsPerMinute"},
		{`{"limits":{"requestsPerMinute":1.5}}`, "requestsPerMinute"},
		{`{"limits":{"tokensPerDay":1.5}}`, "tokensPerDay"},
		{`{"limits":{"policy":"canary"}}`, "policy"},
		{`{"limits":{"colour":1}}`, "colour"},
		{`{"maxStale":1}`, "maxStale"},
		{`{"maxStale":-1}`, "maxStale"},
		{`{"group":" canary"}`, "group"},
	} {
		if status, o := f.call("PATCH", path, row.body); status != 400 {
			t.Errorf("%s: %d %v", row.body, status, o)
		}
	}
	f.want(shown(), "<nil>", "limits")
}

func TestTokenBudgets(t *testing.T) {
	f := start(t)
	id := f.makeToken(`{"name":"x","limits":{"policy":"strict"},"budget":{"requestsPerDay":1000,"tokensPerMonth":7000000000}}`)
	f.want(f.onlyToken(), "map[requestsPerDay:1000 requestsPerMonth:0 tokensPerDay:0 tokensPerMonth:7e+09]", "budget")
	f.want(f.onlyToken(), "strict", "limits", "policy")
	path := "/admin/tokens/" + id
	f.want(f.must("PATCH", path, `{"budget":{"requestsPerDay":5}}`), "map[requestsPerDay:5 requestsPerMonth:0 tokensPerDay:0 tokensPerMonth:7e+09]", "budget")
	f.want(f.must("PATCH", path, `{"budget":null}`), "<nil>", "budget")
	for _, body := range []string{
		`{"budget":{"requestsPerDay":-1}}`, `{"budget":{"tokensPerDay":0.5}}`, `{"budget":{"requestsPerHour":1}}`, `{"limits":{"policy":"hard"}}`,
	} {
		if status, o := f.call("PATCH", path, body); status != 400 {
			t.Errorf("%s: %d %v", body, status, o)
		}
	}
}

func TestNodesAreDrainedAndEvicted(t *testing.T) {
	f := start(t)
	f.node("a", "eu", true)
	f.want(f.must("POST", "/admin/nodes/a:drain", ""), "draining", "state")
	f.want(f.must("POST", "/admin/nodes/a:drain", ""), "draining", "state") // again is no error
	f.want(f.must("POST", "/admin/nodes/a:resume", ""), "live", "state")
	f.want(f.must("POST", "/admin/nodes/a:evict?wait=0.2", ""), "evicted", "node", "state")
	f.must("POST", "/admin/nodes/a:evict?wait=0.2", "")
	f.want(f.must("GET", "/admin/nodes/a", ""), "evicted", "state")
	if status, o := f.call("POST", "/admin/nodes/a:resume", ""); status != 400 && status != 409 {
		t.Errorf("an evicted node is resumed: %d %v", status, o)
	}
	for _, order := range []string{"drain", "resume", "evict"} {
		if status, _ := f.call("POST", "/admin/nodes/nobody:"+order, ""); status != 404 {
			t.Errorf("%s of a node that there is not: %d", order, status)
		}
	}
}
