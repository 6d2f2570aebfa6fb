package adminapi_test

import (
	"strings"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// TestProviderRouting: names of models, affinity, patience and kept answers, each absent, given, and given back.
func TestProviderRouting(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/providers", `{"id":"acme","baseUrl":"https://acme.example"}`)
	f.want(made, "map[]", "modelAliases")
	f.want(made, "on_request", "affinity")
	f.want(made, "2", "failover", "patience")
	f.want(made, "map[enabled:false]", "cache")
	whole := f.must("POST", "/admin/providers", `{"id":"whole","baseUrl":"https://whole.example","modelAliases":{"gpt-4o":"gpt-oss:120b","b":"gpt-4o"},
		"affinity":"prompt","failover":{"patience":0},"cache":{"enabled":true,"ttl":0.5e2}}`)
	f.want(whole, "map[b:gpt-4o gpt-4o:gpt-oss:120b]", "modelAliases")
	f.want(whole, "prompt", "affinity")
	f.want(whole, "0", "failover", "patience")
	f.want(whole, "map[enabled:true ttl:50]", "cache")
	if p, _ := f.pool.Provider("whole"); p.Patience != 0 || p.CacheTTL != 50*time.Second || p.Affinity != pool.AffinityPrompt || p.ModelAliases["b"] != "gpt-4o" {
		t.Errorf("the pool has %+v", p)
	}

	for _, row := range []struct{ body, want, field string }{
		{`{"failover":{"patience":0}}`, "map[ejectFor:3600 maxTries:3 patience:0 strikes:3]", "failover"},
		{`{"failover":{"strikes":4}}`, "map[ejectFor:3600 maxTries:3 patience:0 strikes:4]", "failover"},
		{`{"failover":{"patience":null}}`, "map[ejectFor:3600 maxTries:3 patience:2 strikes:4]", "failover"},
		{`{"failover":{"patience":1.25}}`, "map[ejectFor:3600 maxTries:3 patience:1.25 strikes:4]", "failover"},
		{`{"failover":null}`, "map[ejectFor:3600 maxTries:3 patience:2 strikes:3]", "failover"},

		{`{"modelAliases":{"a":"x","c":"d e"}}`, "map[a:x c:d e]", "modelAliases"},
		{`{"modelAliases":{"b":"a"}}`, "map[b:a]", "modelAliases"},
		{`{"affinity":"prompt"}`, "map[b:a]", "modelAliases"},
		{`{"modelAliases":{}}`, "map[]", "modelAliases"},
		{`{"modelAliases":{"` + strings.Repeat("é", 200) + `":"` + strings.Repeat("a", 200) + `"}}`, "map[" + strings.Repeat("é", 200) + ":" + strings.Repeat("a", 200) + "]", "modelAliases"},
		{`{"modelAliases":null}`, "map[]", "modelAliases"},

		{`{"enabled":true}`, "prompt", "affinity"},
		{`{"affinity":"on_request"}`, "on_request", "affinity"},
		{`{"affinity":"prompt"}`, "prompt", "affinity"},
		{`{"affinity":null}`, "on_request", "affinity"},

		{`{"cache":{"enabled":true}}`, "map[enabled:true ttl:300]", "cache"},
		{`{"cache":{"ttl":60}}`, "map[enabled:true ttl:60]", "cache"},
		{`{"cache":{"enabled":true}}`, "map[enabled:true ttl:60]", "cache"},
		{`{"displayName":"A"}`, "map[enabled:true ttl:60]", "cache"},
		{`{"cache":{"ttl":null}}`, "map[enabled:true ttl:300]", "cache"},
		{`{"cache":{"enabled":true,"ttl":86400}}`, "map[enabled:true ttl:86400]", "cache"},
		{`{"cache":{"enabled":false,"ttl":60}}`, "map[enabled:false]", "cache"},
		{`{"cache":{"enabled":true,"ttl":1}}`, "map[enabled:true ttl:1]", "cache"},
		{`{"cache":{"enabled":null}}`, "map[enabled:false]", "cache"},
		{`{"cache":{"enabled":true}}`, "map[enabled:true ttl:300]", "cache"},
		{`{"cache":null}`, "map[enabled:false]", "cache"},
	} {
		f.want(f.must("PATCH", "/admin/providers/acme", row.body), row.want, row.field)
		f.want(f.must("GET", "/admin/providers/acme", ""), row.want, row.field)
	}
	f.want(f.must("GET", "/admin/providers/whole", ""), "map[enabled:true ttl:50]", "cache")
	f.want(f.must("GET", "/admin/providers/ollama", ""), "2", "failover", "patience")
}
