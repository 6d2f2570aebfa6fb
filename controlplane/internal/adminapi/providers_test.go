package adminapi_test

import (
	"strings"
	"testing"
)

func TestProviderLife(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/providers", `{"id":"acme","baseUrl":"https://API.acme.example:8443/v1/","headers":{"x-title":"pool"},"failover":{"strikes":5}}`)
	f.want(made, "https://api.acme.example:8443/v1", "baseUrl")
	f.want(made, "acme", "displayName")
	f.want(made, "openai", "dialect")
	f.want(made, "true", "enabled")
	f.want(made, "map[X-Title:pool]", "headers")
	f.want(made, "map[ejectFor:3600 maxTries:3 patience:2 strikes:5]", "failover")
	f.want(made, "map[connect:10 firstByte:300 idle:300]", "timeouts")
	f.want(made, "0", "keyCount")
	f.refuse("POST", "/admin/providers", `{"id":"acme","baseUrl":"https://other.example"}`, 409, "PROVIDER_EXISTS", "id")

	f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("a")+`","provider":"acme"}`)
	patched := f.must("PATCH", "/admin/providers/acme", `{"enabled":false,"failover":{"maxTries":9},"timeouts":{"idle":0.5},"revision":"`+made["revision"].(string)+`"}`)
	f.want(patched, "false", "enabled")
	f.want(patched, "map[ejectFor:3600 maxTries:9 patience:2 strikes:5]", "failover")
	f.want(patched, "map[connect:10 firstByte:300 idle:0.5]", "timeouts")
	f.want(patched, "1", "keyCount")
	f.want(patched, "map[X-Title:pool]", "headers")
	f.refuse("PATCH", "/admin/providers/acme", `{"enabled":true,"revision":"`+made["revision"].(string)+`"}`, 409, "REVISION_CONFLICT", "revision")
	reset := f.must("PATCH", "/admin/providers/acme", `{"enabled":null,"failover":null,"headers":{},"displayName":""}`)
	f.want(reset, "true", "enabled")
	f.want(reset, "map[ejectFor:3600 maxTries:3 patience:2 strikes:3]", "failover")
	f.want(reset, "map[]", "headers")
	f.want(reset, "acme", "displayName")

	f.want(f.must("PATCH", "/admin/providers/acme", `{"baseUrl":"http://127.0.0.1:11434","allowPrivateAddresses":true}`), "http://127.0.0.1:11434", "baseUrl")
	f.refuse("PATCH", "/admin/providers/acme", `{"allowPrivateAddresses":false}`, 400, "INVALID_ARGUMENT", "baseUrl")

	f.refuse("DELETE", "/admin/providers/acme", "", 409, "PROVIDER_IN_USE", "keys")
	f.must("DELETE", "/admin/api-keys", `{"apiKey":"`+secretOf("a")+`"}`)
	f.must("DELETE", "/admin/providers/acme", "")
	f.refuse("DELETE", "/admin/providers/acme", "", 404, "PROVIDER_NOT_FOUND", "")
	f.refuse("GET", "/admin/providers/acme", "", 404, "PROVIDER_NOT_FOUND", "")
	f.refuse("PATCH", "/admin/providers/acme", `{"enabled":true}`, 404, "PROVIDER_NOT_FOUND", "")
	all := list(f.must("GET", "/admin/providers", ""), "providers")
	if len(all) != 2 || all[0]["id"] != "ollama" || all[1]["baseUrl"] != "https://openrouter.ai/api" {
		t.Errorf("got %v", all)
	}
}

func TestProviderRefusals(t *testing.T) {
	f := start(t)
	with := func(more string) string { return `{"id":"acme","baseUrl":"https://acme.example",` + more + `}` }
	for _, row := range []struct{ method, target, body, names string }{
		{"POST", "", ``, "id"},
		{"POST", "", `{"baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"v1","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"healthz","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"Acme","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"a","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"` + strings.Repeat("a", 32) + `","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"a/canary","baseUrl":"https://acme.example"}`, "id"},
		{"POST", "", `{"id":"acme"}`, "baseUrl"},
		{"POST", "", with(`"dialect":"canary"`), "dialect"},
		{"POST", "", with(`"displayName":"canary\u0000"`), "displayName"},
		{"POST", "", with(`"headers":{"Authorization":"Bearer canary"}`), "headers: Authorization cannot be set"},
		{"POST", "", with(`"headers":{"x-API-key":"canary"}`), "headers: X-Api-Key cannot be set"},
		{"POST", "", with(`"headers":{"cookie":"canary"}`), "headers: Cookie"},
		{"POST", "", with(`"headers":{"HOST":"canary"}`), "headers: Host"},
		{"POST", "", with(`"headers":{"transfer-encoding":"canary"}`), "headers: Transfer-Encoding"},
		{"POST", "", with(`"headers":{"canary x":"y"}`), "headers"},
		{"POST", "", with(`"headers":{"X":"canary\r\nY: z"}`), "headers"},
		{"POST", "", with(`"headers":{"X":" canary"}`), "headers"},
		{"POST", "", with(`"headers":{"X":""}`), "headers"},
		{"POST", "", with(`"headers":{"x-a":"1","X-A":"2"}`), "headers"},
		{"POST", "", with(`"failover":{"maxTries":11}`), "failover.maxTries"},
		{"POST", "", with(`"failover":{"ejectFor":0}`), "failover.ejectFor"},
		{"POST", "", with(`"timeouts":{"firstByte":0}`), "timeouts.firstByte"},
		{"POST", "", with(`"failover":{"patience":60.5}`), "failover.patience"},
		{"POST", "", with(`"failover":{"patience":-1}`), "failover.patience"},
		{"POST", "", with(`"affinity":"canary"`), "affinity"},
		{"POST", "", with(`"modelAliases":{"canary\u0007":"x"}`), "modelAliases: holds a name"},
		{"POST", "", with(`"modelAliases":{"x":"can\u202eary"}`), "modelAliases: holds a name"},
		{"POST", "", with(`"modelAliases":{" canary":"x"}`), "modelAliases: holds a name"},
		{"POST", "", with(`"modelAliases":{"canary":"canary"}`), "modelAliases: holds an alias that points to itself"},
		{"POST", "", with(`"modelAliases":{"canary":""}`), "modelAliases"},
		{"POST", "", with(`"modelAliases":{"":"canary"}`), "modelAliases"},
		{"POST", "", with(`"modelAliases":{"x":"` + strings.Repeat("canary", 34) + `"}`), "modelAliases"},
		{"POST", "", with(`"modelAliases":{"` + strings.Repeat("canary", 34) + `":"x"}`), "modelAliases"},
		{"POST", "", with(`"cache":{"enabled":true,"ttl":0}`), "cache.ttl"},
		{"POST", "", with(`"cache":{"enabled":true,"ttl":86401}`), "cache.ttl"},
		{"POST", "", with(`"cache":{"ttl":60}`), "cache.ttl: is of no use"},
		{"PATCH", "/ollama", `{"cache":{"ttl":60}}`, "cache.ttl: is of no use"},
		{"PATCH", "/ollama", `{"failover":{"patience":61}}`, "failover.patience"},
		{"PATCH", "/ollama", `{"modelAliases":{"canary":"canary"}}`, "modelAliases"},
		{"PATCH", "/ollama", `{}`, "name at least one field"},
		{"PATCH", "/ollama", `{"keyCount":3}`, "keyCount: cannot be changed"},
		{"PATCH", "/ollama", `{"createTime":"2020-01-01T00:00:00Z"}`, "createTime: cannot be changed"},
		{"PATCH", "/ollama", `{"baseUrl":null}`, "baseUrl"},
		{"PATCH", "/ollama", `{"baseUrl":"http://ollama.com"}`, "baseUrl"},
		{"PATCH", "/ollama", `{"failover":{"strikes":0}}`, "failover.strikes"},
	} {
		f.refuse(row.method, "/admin/providers"+row.target, row.body, 400, "INVALID_ARGUMENT", row.names)
	}
	if all := list(f.must("GET", "/admin/providers", ""), "providers"); len(all) != 2 || all[0]["baseUrl"] != "https://ollama.com" {
		t.Errorf("something was changed: %v", all)
	}
}
