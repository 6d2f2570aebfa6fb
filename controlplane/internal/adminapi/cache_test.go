package adminapi_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestCacheStats(t *testing.T) {
	f := start(t)
	none := f.must("GET", "/admin/cache/stats", "")
	f.want(none, "map[bytes:0 entries:0 hits:0 misses:0]", "models")
	f.want(none, "map[bytes:0 entries:0 hits:0 misses:0]", "responses")
	f.want(none, "[]", "nodes")

	a, b := f.node("a", "eu", true), f.node("b", "us", true)
	f.node("new", "us", true) // has not had a heartbeat
	f.pool.Renew(f.clock(), f.node("lost", "eu", true), pool.NodeStatus{Caches: []pool.CacheStatus{{Provider: "ollama", Lists: 1, Hits: 1000}}})
	f.pool.Renew(f.clock(), a, pool.NodeStatus{Caches: []pool.CacheStatus{
		{Provider: "ollama", Lists: 1, Bytes: 100, Hits: 8, Misses: 1, Answers: 5, AnswerBytes: 500, AnswerHits: 3, AnswerMisses: 1},
		{Provider: "openrouter", Lists: 1, Bytes: 1000, Misses: 1, AnswerMisses: 4},
	}})
	f.pool.Renew(f.clock(), b, pool.NodeStatus{Caches: []pool.CacheStatus{{Provider: "ollama", Answers: 2, AnswerBytes: 20, AnswerHits: 8}}})
	f.pool.Detach(time.Now(), f.node("lost", "eu", true), false, nil)

	all := f.must("GET", "/admin/cache/stats", "")
	f.want(all, "map[bytes:1100 entries:2 hitRate:0.8 hits:8 misses:2]", "models")
	f.want(all, "map[bytes:520 entries:7 hitRate:0.6875 hits:11 misses:5]", "responses")
	nodes := list(all, "nodes")
	if len(nodes) != 3 {
		t.Fatalf("nodes: %v", nodes)
	}
	f.want(nodes[0], "a", "node")
	f.want(nodes[0], "eu", "region")
	f.want(nodes[0], "map[bytes:1100 entries:2 hitRate:0.8 hits:8 misses:2]", "models")
	f.want(nodes[0], "map[bytes:500 entries:5 hitRate:0.375 hits:3 misses:5]", "responses")
	f.want(nodes[1], "map[bytes:20 entries:2 hitRate:1 hits:8 misses:0]", "responses")
	if at(nodes[0], "asOfTime") == nil {
		t.Error("figures without their time")
	}
	f.want(nodes[1], "map[bytes:0 entries:0 hits:0 misses:0]", "models")
	f.want(nodes[2], "map[node:new region:us]")

	one := f.must("GET", "/admin/cache/stats?provider=ollama", "")
	f.want(one, "map[bytes:100 entries:1 hitRate:0.8888888888888888 hits:8 misses:1]", "models")
	f.want(list(one, "nodes")[0], "1", "models", "entries")
	f.want(one, "map[bytes:520 entries:7 hitRate:0.9166666666666666 hits:11 misses:1]", "responses")
	f.want(list(one, "nodes")[0], "1", "responses", "misses")
	f.refuse("GET", "/admin/cache/stats?provider=canary", "", 404, "PROVIDER_NOT_FOUND", "provider")
	f.refuse("GET", "/admin/cache/stats?wait=1", "", 400, "INVALID_ARGUMENT", "wait")
}

func TestClearCache(t *testing.T) {
	f := start(t)
	f.node("good", "eu", true)
	f.node("far", "us", true)
	f.node("deaf", "eu", false)
	f.pool.Detach(time.Now(), f.node("lost", "eu", true), false, nil)
	for _, row := range []struct{ target, body string }{
		{"/admin/cache/clear?wait=0.2", ""},
		{"/admin/cache/clear?wait=0.2", `{"provider":"ollama"}`},
		{"/admin/cache/clear?wait=0.2&provider=ollama", ""},
	} {
		r := f.must("POST", row.target, row.body)
		f.want(r, "[far good]", "receipt", "acknowledged")
		f.want(r, "[deaf]", "receipt", "pending")
		if lost := list(r, "receipt", "unreachable"); len(lost) != 1 || lost[0]["node"] != "lost" || lost[0]["stopsBy"] == nil {
			t.Errorf("%s %s: unreachable: %v", row.target, row.body, lost)
		}
	}
	f.refuse("POST", "/admin/cache/clear", `{"provider":"canary"}`, 404, "PROVIDER_NOT_FOUND", "provider")
	f.refuse("POST", "/admin/cache/clear?provider=openrouter", `{"provider":"ollama"}`, 400, "INVALID_ARGUMENT", "provider")
	f.refuse("POST", "/admin/cache/clear?wait=canary", "", 400, "INVALID_ARGUMENT", "wait")
	f.refuse("POST", "/admin/cache/clear?wait=61", "", 400, "INVALID_ARGUMENT", "wait")
}

// TestAClearThatIsRefusedClearsNothing: neither one of a provider that is not there, nor one with a wait that cannot be.
func TestAClearThatIsRefusedClearsNothing(t *testing.T) {
	f := start(t)
	s := f.node("idle", "eu", false)
	for s.Next(f.clock()) != nil { // the sync
	}
	f.refuse("POST", "/admin/cache/clear", `{"provider":"nobody"}`, 404, "PROVIDER_NOT_FOUND", "provider")
	f.refuse("POST", "/admin/cache/clear?wait=61", "", 400, "INVALID_ARGUMENT", "wait")
	if m := s.Next(f.clock()); m != nil {
		t.Errorf("the node is told %+v", m)
	}
	f.must("POST", "/admin/cache/clear?wait=0", "")
	if m := s.Next(f.clock()); m == nil || m.Command == nil {
		t.Errorf("the node is told %+v, want the clear", m)
	}
}
