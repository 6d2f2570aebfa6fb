package adminapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/adminapi"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
)

// upstream answers by the end of the key's name.
type upstream struct{}

func (u upstream) Check(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, error) {
	a, _, err := u.Examine(ctx, of, key)
	return a, err
}

func (upstream) Examine(_ context.Context, of pool.Provider, key pool.Secret) (probe.Answer, probe.Models, error) {
	switch k := key.Reveal(); {
	case strings.HasSuffix(k, "-dead"):
		return probe.Answer{Finding: probe.Rejected, Reason: probe.AuthRejected}, probe.Models{}, nil
	case strings.HasSuffix(k, "-spent"):
		return probe.Answer{Finding: probe.Limited, Reason: probe.QuotaExhausted, RetryAfter: time.Hour}, probe.Models{}, nil
	case strings.HasSuffix(k, "-lost"):
		return probe.Answer{Reason: probe.Unreachable}, probe.Models{}, nil
	case of.ID == "openrouter":
		return probe.Answer{Finding: probe.Good}, probe.Models{}, nil
	default:
		return probe.Answer{Finding: probe.Good}, probe.Models{Names: []string{"qwen3", "qwq"}, Category: "qwen"}, nil
	}
}

func withUpstream(c *adminapi.Config) { c.Prober = upstream{} }

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestImports(t *testing.T) {
	f := start(t, withUpstream)
	job := f.must("POST", "/admin/api-keys/import?provider=openrouter", `{"keys":["`+secretOf("a")+`","`+secretOf("a")+`"," ",""],"ttl":3600}`)
	f.want(job, "map[added:1 duplicate:1 failed:0 invalid:2]", "counts")
	f.want(job, "4", "total")
	f.want(job, "4", "done")
	f.want(job, "done", "state")
	f.want(job, "import", "kind")
	first := list(job, "results")[0]
	f.want(first, "1", "line")
	f.want(first, "added", "result")
	f.want(f.must("GET", "/admin/api-keys/"+first["id"].(string), ""), "openrouter", "provider")

	text := "ann@example.com----hunter2-canary----session-canary----" + secretOf("b") + "\r\n" +
		"bob@example.com----hunter2-canary----session-canary----aid----" + secretOf("c-dead") + "\r\n\r\n" +
		"carol----" + secretOf("d-spent") + "\r\n" + secretOf("e-lost") + "\r\n" + secretOf("a") + "\r\nx----y-canary----z-canary"
	job = f.must("POST", "/admin/api-keys/import-with-validation", `{"content":`+quoted(text)+`,"dryRun":true}`)
	f.want(job, "map[added:2 duplicate:0 failed:3 invalid:1]", "counts")
	f.want(job, "true", "dryRun")
	f.want(f.must("GET", "/admin/api-keys", ""), "1", "total")
	job = f.must("POST", "/admin/api-keys/import-with-validation", `{"content":`+quoted(text)+`}`)
	f.want(job, "map[qwen:1]", "categories")
	var got []string
	for _, r := range list(job, "results") {
		got = append(got, fmt.Sprint(r["line"], " ", r["result"], " ", r["reason"]))
	}
	want := "1 added , 2 failed auth_rejected, 4 added quota_exhausted, 5 failed unreachable, 6 failed other_provider, 7 invalid wrong_fields"
	if strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	qwen := f.must("GET", "/admin/api-keys?category=qwen", "")
	f.want(qwen, "1", "total")
	f.want(list(qwen, "apiKeys")[0], "ann@example.com", "label")
	f.want(list(f.must("GET", "/admin/api-keys?status=cooling", ""), "apiKeys")[0], "carol", "label")

	f.want(f.must("POST", "/admin/api-keys/import-from-txt", `{"content":`+quoted(text)+`}`), "map[added:2 duplicate:2 failed:1 invalid:1]", "counts")
}

func TestImportRefusals(t *testing.T) {
	f := start(t, withUpstream)
	many := `{"content":"` + strings.Repeat(`canary-key-01\n`, 5001) + `"}`
	for _, row := range []struct {
		path, body    string
		status        int
		reason, names string
	}{
		{"import", `{"keys":"sk-canary"}`, 400, "MALFORMED_BODY", "keys: must be a list"},
		{"import", `{"keys":[1]}`, 400, "MALFORMED_BODY", "keys[0]: must be a text"},
		{"import", `{"keys":[{"apiKey":"sk-canary"}]}`, 400, "MALFORMED_BODY", "keys[0]: must be a text"},
		{"import", `{"accounts":["canary"]}`, 400, "MALFORMED_BODY", "accounts: unknown field"},
		{"import", `{"keys":[]}`, 400, "INVALID_ARGUMENT", "keys: holds no key"},
		{"import", ``, 400, "INVALID_ARGUMENT", "keys: holds no key"},
		{"import", `["sk-canary"]`, 400, "MALFORMED_BODY", "must be an object"},
		{"import", `null`, 400, "MALFORMED_BODY", "must be an object"},
		{"import", `{"keys":["sk-canary-0123456"],"ttl":-1}`, 400, "INVALID_ARGUMENT", "ttl"},
		{"import", `{"keys":["sk-canary-0123456"],"dryRun":"yes"}`, 400, "MALFORMED_BODY", "dryRun: must be true or false"},
		{"import?provider=openrouter", `{"keys":["sk-canary-0123456"],"provider":"ollama"}`, 400, "INVALID_ARGUMENT", "provider: differs"},
		{"import", `{"keys":["sk-canary-0123456"],"provider":"nobody"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{"import?provder=openrouter", `{"keys":["sk-canary-0123456"]}`, 400, "INVALID_ARGUMENT", "provder: unknown parameter"},
		{"import-from-txt", `{"content":["sk-canary"]}`, 400, "MALFORMED_BODY", "content: must be a text"},
		{"import-from-txt", `{"content":" \n\r\n"}`, 400, "INVALID_ARGUMENT", "content: holds no key"},
		{"import-from-txt", many, 400, "INVALID_ARGUMENT", "content: holds more than 5000 keys"},
		{"import-with-validation", many, 400, "INVALID_ARGUMENT", "content: holds more than 5000 keys"},
		{"import-with-validation", `{"text":"sk-canary"}`, 400, "MALFORMED_BODY", "text: unknown field"},
	} {
		f.refuse("POST", "/admin/api-keys/"+row.path, row.body, row.status, row.reason, row.names)
	}
	f.want(f.must("GET", "/admin/api-keys", ""), "0", "total")
	f.role = "viewer"
	f.refuse("POST", "/admin/api-keys/import", `{"keys":["sk-canary-0123456"]}`, 403, "PERMISSION_DENIED", "")
}

func TestHealthChecks(t *testing.T) {
	f := start(t, withUpstream)
	good, dead, spent := f.addKey("good", ""), f.addKey("dead", `,"provider":"openrouter"`), f.addKey("spent", "")
	f.addKey("lost", "")

	dry := f.must("POST", "/admin/keys/health-check", `{"all":true,"apply":false}`)
	f.want(dry, "map[applied:0 limited:1 rejected:1 unknown:1 valid:1]", "counts")
	f.want(dry, "true", "dryRun")
	f.want(f.must("GET", "/admin/api-keys?status=active", ""), "4", "total")

	job := f.must("POST", "/admin/keys/health-check", "") // as the former system's scripts do: everything, and it takes effect
	f.want(job, "map[applied:2 limited:1 rejected:1 unknown:1 valid:1]", "counts")
	f.want(job, "check", "kind")
	after := map[string]any{}
	for _, r := range list(job, "results") {
		after[r["id"].(string)] = r["after"]
		f.want(r, "active", "before")
		f.want(f.must("GET", "/admin/api-keys/"+r["id"].(string), ""), fmt.Sprint(r["after"]), "status") // result and list agree
	}
	if after[good] != "active" || after[dead] != "auto_disabled" || after[spent] != "cooling" {
		t.Errorf("after it: %v", after)
	}
	f.want(f.must("POST", "/admin/keys/health-check", `{"status":"auto_disabled"}`), "1", "total")
	f.want(f.must("POST", "/admin/keys/health-check?provider=ollama", `{}`), "3", "total")
	f.want(f.must("POST", "/admin/keys/health-check", `{"ids":["`+good+`","`+good+`","`+dead+`"],"status":"active"}`), "1", "total")
	f.want(f.must("POST", "/admin/keys/health-check", `{"status":"expired"}`), "0", "total")

	f.must("POST", "/admin/keys/disable", `{"id":"`+good+`","force":true}`)
	disabled := list(f.must("POST", "/admin/keys/health-check", `{"ids":["`+good+`"]}`), "results")[0]
	f.want(disabled, "valid", "result")
	f.want(disabled, "disabled", "after")

	for _, row := range []struct{ body, reason, names string }{
		{`{"ids":["canary"]}`, "KEY_NOT_FOUND", "ids[0]"},
		{`{"ids":["` + good + `","k_0000000000000"]}`, "KEY_NOT_FOUND", "ids[1]"},
		{`{"all":true,"status":"active"}`, "INVALID_ARGUMENT", "all"},
		{`{"status":"canary"}`, "INVALID_ARGUMENT", "status"},
		{`{"ids":"canary"}`, "MALFORMED_BODY", "ids: must be a list"},
		{`{"provider":"nobody"}`, "PROVIDER_NOT_FOUND", "provider"},
	} {
		status := 400
		if strings.HasSuffix(row.reason, "NOT_FOUND") {
			status = 404
		}
		f.refuse("POST", "/admin/keys/health-check", row.body, status, row.reason, row.names)
	}
}

func TestVerifyKey(t *testing.T) {
	f := start(t, withUpstream)
	id := f.addKey("known", `,"provider":"openrouter"`)
	for _, row := range []struct{ body, want string }{
		{`{"apiKey":"` + secretOf("x") + `"}`, "true active qwen [qwen3 qwq]  "},
		{`{"id":"` + id + `"}`, "true active  []  "},
		{`{"apiKey":"` + secretOf("x-dead") + `"}`, "false auto_disabled  [] auth_rejected the upstream does not accept the key"},
		{`{"apiKey":"` + secretOf("x-spent") + `"}`, "true cooling  [] quota_exhausted the quota or credit of the key or its account is used up"},
		{`{"apiKey":"` + secretOf("x-lost") + `"}`, "false unchecked  [] unreachable the upstream was not reached; this says nothing about the key"},
	} {
		got := f.must("POST", "/admin/verify-key", row.body)
		if s := fmt.Sprint(got["valid"], " ", got["status"], " ", got["category"], " ", got["models"], " ", got["reason"], " ", got["error"]); s != row.want {
			t.Errorf("%s: got %s, want %s", row.body, s, row.want)
		}
	}
	f.want(f.must("GET", "/admin/api-keys", ""), "1", "total")
	for _, row := range []struct {
		body          string
		status        int
		reason, names string
	}{
		{`{}`, 400, "INVALID_ARGUMENT", "one of both"},
		{`{"id":"` + id + `","apiKey":"` + secretOf("x") + `"}`, 400, "INVALID_ARGUMENT", "one of both"},
		{`{"apiKey":"canary"}`, 400, "INVALID_ARGUMENT", "apiKey"},
		{`{"apiKey":"` + secretOf("x") + ` "}`, 400, "INVALID_ARGUMENT", "apiKey"},
		{`{"apiKey":"ann@example.com----canary----session----` + secretOf("x") + `"}`, 400, "INVALID_ARGUMENT", "apiKey: is a whole line"},
		{`{"id":"canary"}`, 404, "KEY_NOT_FOUND", "id"},
		{`{"id":"` + id + `","provider":"ollama"}`, 404, "KEY_NOT_FOUND", "id"},
		{`{"apiKey":"` + secretOf("x") + `","provider":"nobody"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{`{"key":"` + secretOf("x") + `"}`, 400, "MALFORMED_BODY", "key: unknown field"},
	} {
		f.refuse("POST", "/admin/verify-key", row.body, row.status, row.reason, row.names)
	}
}

func TestRestore(t *testing.T) {
	f := start(t)
	id, other := f.addKey("a", `,"label":"ann","models":["qwen*"],"weight":7`), f.addKey("b", "")
	f.must("DELETE", "/admin/api-keys", `{"ids":["`+id+`","`+other+`"]}`)
	f.refuse("GET", "/admin/api-keys/"+id, "", 404, "KEY_NOT_FOUND", "")
	f.refuse("POST", "/admin/api-keys/"+id+":restore?provider=openrouter", "", 404, "KEY_NOT_FOUND", "24 hours")
	f.pass(23 * time.Hour)
	back := f.must("POST", "/admin/api-keys/"+id+":restore", "")
	for field, want := range map[string]string{"id": id, "label": "ann", "models": "[qwen*]", "weight": "7", "status": "active"} {
		f.want(back, want, field)
	}
	f.want(f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("a")+`"}`), "false", "created")
	f.refuse("POST", "/admin/api-keys/"+id+":restore", "{}", 404, "KEY_NOT_FOUND", "24 hours")

	f.addKey("b", "")
	f.refuse("POST", "/admin/api-keys/"+other+":restore", "", 409, "KEY_EXISTS", "added again")
	f.pass(2 * time.Hour)
	f.refuse("POST", "/admin/api-keys/"+other+":restore", "", 404, "KEY_NOT_FOUND", "24 hours")
	f.refuse("POST", "/admin/api-keys/canary:restore", "", 404, "KEY_NOT_FOUND", "24 hours")
	f.refuse("GET", "/admin/api-keys/"+id+":restore", "", 405, "METHOD_NOT_ALLOWED", "")
	f.refuse("POST", "/admin/api-keys/"+id+":canary", "", 405, "METHOD_NOT_ALLOWED", "")
}

func TestTokensAreCarriedOver(t *testing.T) {
	f := start(t)
	const old = "sk-canary-0123456789ABCDEFghij"
	made := f.must("POST", "/admin/tokens", `{"name":"mobile","token":"`+old+`"}`)
	f.want(made, "true", "created")
	f.want(made, "", "token")
	f.want(made, "sk-c…ghij", "clientToken", "display")
	again := f.must("POST", "/admin/tokens", `{"name":"another name","token":"`+old+`","expiresIn":60}`)
	f.want(again, "false", "created")
	f.want(again, "mobile", "clientToken", "name")
	f.want(again, "<nil>", "clientToken", "expireTime")
	f.want(f.must("GET", "/admin/tokens", ""), "1", "total")

	ours := f.must("POST", "/admin/tokens", `{"name":"made here"}`)["token"].(string)
	f.want(f.must("POST", "/admin/tokens", `{"name":"x","token":"`+ours+`"}`), "made here", "clientToken", "name")
	f.refuse("POST", "/admin/tokens", `{"name":"x","token":"`+ours[:len(ours)-1]+`"}`, 400, "INVALID_ARGUMENT", "checksum")
	f.must("DELETE", "/admin/tokens", `{"token":"`+old+`"}`)
	f.want(f.must("POST", "/admin/tokens", `{"name":"back","token":"`+old+`"}`), "true", "created")
}
