package adminapi_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const bounds = `"limits":{"requestsPerMinute":60,"tokensPerMinute":90000,"maxConcurrent":4},` +
	`"allowedCidrs":["10.1.2.3/8","192.0.2.7","2001:DB8::1","10.9.9.9/8"],"tenant":"team","cache":false`

// onlyToken answers the one token that there is.
func (f *fixture) onlyToken() object {
	f.t.Helper()
	all := list(f.must("GET", "/admin/tokens", ""), "clientTokens")
	if len(all) != 1 {
		f.t.Fatalf("there are %d tokens", len(all))
	}
	return all[0]
}

func TestTokenBounds(t *testing.T) {
	f := start(t)
	plain := at(f.must("POST", "/admin/tokens", `{"name":"plain"}`), "clientToken").(object)
	f.want(plain, "map[maxConcurrent:0 policy:adaptive requestsPerMinute:0 tokensPerMinute:0]", "limits")
	f.want(plain, "[]", "allowedCidrs")
	f.want(plain, "", "tenant")
	f.want(plain, "<nil>", "cache")
	f.must("DELETE", "/admin/tokens", `{"id":"`+plain["id"].(string)+`"}`)

	made := at(f.must("POST", "/admin/tokens", `{"name":"ci",`+bounds+`}`), "clientToken").(object)
	for _, token := range []object{made, f.onlyToken()} {
		f.want(token, "map[maxConcurrent:4 policy:adaptive requestsPerMinute:60 tokensPerMinute:90000]", "limits")
		f.want(token, "[10.0.0.0/8 192.0.2.7/32 2001:db8::1/128]", "allowedCidrs")
		f.want(token, "team", "tenant")
		f.want(token, "false", "cache")
	}
	id, err := pool.ParseTokenID(made["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	kept, _ := f.pool.Token(id)
	if kept.Limits != (pool.Limits{RequestsPerMinute: 60, TokensPerMinute: 90000, MaxConcurrent: 4}) || len(kept.AllowedCIDRs) != 3 || kept.Tenant != "team" || *kept.Cache {
		t.Errorf("the pool has %+v", kept)
	}
}

// A token that is carried over again is answered as it is: what is asked for it this time is not put on it.
func TestACarriedTokenStaysAsItIs(t *testing.T) {
	f := start(t)
	const body = `{"name":"%s","token":"sk-0123456789abcdefghijklmn"%s}`
	f.want(f.must("POST", "/admin/tokens", fmt.Sprintf(body, "old", ","+bounds)), "true", "created")
	again := f.must("POST", "/admin/tokens", fmt.Sprintf(body, "other", `,"limits":{"maxConcurrent":1},"cache":true`))
	f.want(again, "false", "created")
	f.want(again, "old", "clientToken", "name")
	f.want(again, "4", "clientToken", "limits", "maxConcurrent")
	f.want(again, "false", "clientToken", "cache")
	f.want(f.onlyToken(), "4", "limits", "maxConcurrent")
}

func TestTokenUpdate(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/tokens", `{"name":"ci","models":["llama*"],`+bounds+`}`)
	path := "/admin/tokens/" + at(made, "clientToken", "id").(string)
	before := at(made, "clientToken", "revision").(string)
	for _, row := range []struct{ body, field, want string }{
		{`{"name":"ci 2"}`, "name", "ci 2"},
		{`{"limits":{"maxConcurrent":7}}`, "limits", "map[maxConcurrent:7 policy:adaptive requestsPerMinute:60 tokensPerMinute:90000]"},
		{`{"limits":{"requestsPerMinute":0,"tokensPerMinute":1000000000}}`, "limits", "map[maxConcurrent:7 policy:adaptive requestsPerMinute:0 tokensPerMinute:1e+09]"},
		{`{"limits":null}`, "limits", "map[maxConcurrent:0 policy:adaptive requestsPerMinute:0 tokensPerMinute:0]"},
		{`{"provider":"ollama"}`, "provider", "ollama"},
		{`{"provider":null}`, "provider", ""},
		{`{"models":["gpt*","qwen*"]}`, "models", "[gpt* qwen*]"},
		{`{"models":[]}`, "models", "[]"},
		{`{"allowedCidrs":["127.0.0.1","::1"]}`, "allowedCidrs", "[127.0.0.1/32 ::1/128]"},
		{`{"tenant":"b"}`, "allowedCidrs", "[127.0.0.1/32 ::1/128]"},
		{`{"allowedCidrs":null}`, "allowedCidrs", "[]"},
		{`{"tenant":""}`, "tenant", ""},
		{`{"cache":true}`, "cache", "true"},
		{`{"cache":false}`, "cache", "false"},
		{`{"cache":null}`, "cache", "<nil>"},
		{`{"expireTime":"2100-01-02T03:04:05Z"}`, "expireTime", "2100-01-02T03:04:05Z"},
		{`{"name":"ci 3"}`, "expireTime", "2100-01-02T03:04:05Z"},
		{`{"expireTime":"2001-01-02T03:04:05Z"}`, "status", "expired"},
		{`{"expireTime":null}`, "status", "active"},
		{`{"id":"` + at(made, "clientToken", "id").(string) + `","name":"ci 4"}`, "name", "ci 4"},
	} {
		f.want(f.must("PATCH", path, row.body), row.want, row.field)
		f.want(f.onlyToken(), row.want, row.field)
	}
	now := f.onlyToken()
	f.want(now, fmt.Sprint(at(made, "clientToken", "display")), "display")
	if now["revision"] == before {
		t.Error("the revision is still the first one")
	}
	o := f.refuse("PATCH", path, `{"name":"lost","revision":"`+before+`"}`, 409, "REVISION_CONFLICT", "revision")
	current := object{}
	for _, d := range list(o, "details") {
		if d["@type"] == "type.googleapis.com/pool.admin.v1.ClientToken" {
			current = d
		}
	}
	f.want(current, "ci 4", "name")
	f.want(current, now["revision"].(string), "revision")
	f.want(f.must("PATCH", path, `{"name":"won","revision":"`+now["revision"].(string)+`"}`), "won", "name")
}

func TestTokenUpdateRefusals(t *testing.T) {
	f := start(t)
	made := at(f.must("POST", "/admin/tokens", `{"name":"ci","provider":"ollama","models":["llama*"],`+bounds+`}`), "clientToken").(object)
	path := "/admin/tokens/" + made["id"].(string)
	long := strings.Repeat("canary", 40)
	for _, row := range []struct {
		body          string
		status        int
		reason, names string
	}{
		{``, 400, "INVALID_ARGUMENT", "name at least one field"},
		{`{}`, 400, "INVALID_ARGUMENT", "name at least one field"},
		{`{"revision":"1"}`, 400, "INVALID_ARGUMENT", "name at least one field"},
		{`{"id":"t_0000000000000","name":"other"}`, 400, "INVALID_ARGUMENT", "id: differs"},
		{`{"display":"canary"}`, 400, "INVALID_ARGUMENT", "display: cannot be changed"},
		{`{"status":"canary"}`, 400, "INVALID_ARGUMENT", "status: cannot be changed"},
		{`{"createTime":"2020-01-01T00:00:00Z"}`, 400, "INVALID_ARGUMENT", "createTime: cannot be changed"},
		{`{"stats":{"total":0}}`, 400, "INVALID_ARGUMENT", "stats.total: cannot be changed"},
		{`{"name":"other","display":"canary"}`, 400, "INVALID_ARGUMENT", "display: cannot be changed"},
		{`{"colour":"canary"}`, 400, "MALFORMED_BODY", "colour: unknown field"},
		{`{"limits":{"colour":"canary"}}`, 400, "MALFORMED_BODY", "limits.colour: unknown field"},
		{`{"limits":{"maxConcurrent":"4"}}`, 400, "MALFORMED_BODY", "limits.maxConcurrent"},
		{`{"name":""}`, 400, "INVALID_ARGUMENT", "name: must have"},
		{`{"name":null}`, 400, "INVALID_ARGUMENT", "name: must have"},
		{`{"name":" canary"}`, 400, "INVALID_ARGUMENT", "name: has white space"},
		{`{"name":"can\u0007ary"}`, 400, "INVALID_ARGUMENT", "name: holds a control"},
		{`{"name":"` + long + `"}`, 400, "INVALID_ARGUMENT", "name: must have"},
		{`{"provider":"canary"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{`{"name":"other","provider":"canary"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{`{"models":["ok","canary b"]}`, 400, "INVALID_ARGUMENT", "models[1]"},
		{`{"limits":{"requestsPerMinute":-1}}`, 400, "INVALID_ARGUMENT", "limits.requestsPerMinute"},
		{`{"limits":{"requestsPerMinute":1000001}}`, 400, "INVALID_ARGUMENT", "limits.requestsPerMinute"},
		{`{"limits":{"tokensPerMinute":1000000001}}`, 400, "INVALID_ARGUMENT", "limits.tokensPerMinute"},
		{`{"limits":{"maxConcurrent":1000001}}`, 400, "INVALID_ARGUMENT", "limits.maxConcurrent"},
		{`{"tenant":"` + long + `"}`, 400, "INVALID_ARGUMENT", "tenant"},
		{`{"tenant":"canary "}`, 400, "INVALID_ARGUMENT", "tenant: has white space"},
		{`{"tenant":"can\u202eary"}`, 400, "INVALID_ARGUMENT", "tenant: holds a control"},
		{`{"allowedCidrs":["10.0.0.0/8","canary"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[1]: is neither"},
		{`{"allowedCidrs":["10.0.0.0/8","10.0.0.0/33"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[1]: is neither"},
		{`{"allowedCidrs":["::ffff:10.0.0.1"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[0]: is IPv4 written as IPv6"},
		{`{"allowedCidrs":["fe80::1%canary"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[0]: is neither"},
		{`{"allowedCidrs":["10.0.0.1",""]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[1]"},
		{`{"allowedCidrs":["` + long + `"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[0]"},
		{`{"allowedCidrs":[` + strings.Repeat(`"::1",`, 100) + `"::1"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs"},
		{`{"name":"other","allowedCidrs":["canary"]}`, 400, "INVALID_ARGUMENT", "allowedCidrs[0]"},
		{`{"cache":"canary"}`, 400, "MALFORMED_BODY", "cache"},
	} {
		if o := f.refuse("PATCH", path, row.body, row.status, row.reason, row.names); strings.Contains(fmt.Sprint(o), "clientToken") {
			t.Errorf("%s: the field is not named as it is in the body: %v", row.body, o)
		}
		if strings.Contains(row.body, `"limits":{"`) || strings.Contains(row.body, "Cidrs") || strings.Contains(row.body, "tenant") {
			if create := strings.Replace(row.body, "{", `{"name":"new",`, 1); !strings.Contains(row.body, `"name"`) {
				f.refuse("POST", "/admin/tokens", create, row.status, row.reason, row.names)
			}
		}
	}
	f.refuse("PATCH", "/admin/tokens/t_0000000000000", `{"name":"x"}`, 404, "TOKEN_NOT_FOUND", "")
	f.refuse("PATCH", "/admin/tokens/canary", `{"name":"x"}`, 404, "TOKEN_NOT_FOUND", "")
	f.refuse("PATCH", path+"?provider=openrouter", `{"name":"x"}`, 404, "TOKEN_NOT_FOUND", "")
	f.refuse("PATCH", path+"?wait=61", `{"name":"x"}`, 400, "INVALID_ARGUMENT", "wait")
	if now := f.onlyToken(); fmt.Sprint(now) != fmt.Sprint(made) {
		t.Errorf("something was changed:\n%v\n%v", made, now)
	}
	f.want(f.must("PATCH", path+"?provider=ollama", `{"name":"x"}`), "x", "name")
}

// A change has reached the nodes that answer when it is answered; one that does not answer is not waited for longer than for
// other grants.
func TestATokensChangeReachesTheNodes(t *testing.T) {
	f := start(t)
	id := f.makeToken(`{"name":"x"}`)
	f.node("good", "eu", true)
	deaf := f.node("deaf", "eu", false)
	for deaf.Next(f.clock()) != nil { // the sync
	}
	begin := time.Now()
	f.must("PATCH", "/admin/tokens/"+id+"?wait=0.3", `{"limits":{"maxConcurrent":2},"allowedCidrs":["10.0.0.0/8"]}`)
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("nobody waited for the node that does not answer: it took %v", took)
	}
	for _, n := range f.pool.Nodes(f.clock()) {
		if want := map[pool.NodeID]bool{"good": true}[n.Record.ID]; (n.Lag == 0) != want {
			t.Errorf("%s lags by %d", n.Record.ID, n.Lag)
		}
	}
	o := deaf.Next(f.clock())
	if o != nil && o.Grants != nil { // its share of the limit
		o = deaf.Next(f.clock())
	}
	if o == nil || o.Delta == nil || len(o.Delta.Tokens) != 1 {
		t.Fatalf("the node is told %+v", o)
	}
	if got := o.Delta.Tokens[0]; got.Limits.MaxConcurrent != 2 || fmt.Sprint(got.AllowedCIDRs) != "[10.0.0.0/8]" {
		t.Errorf("the node is told %+v", got)
	}
}
