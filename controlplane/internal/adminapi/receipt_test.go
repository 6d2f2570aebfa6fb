package adminapi_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/store"
)

// TestReceipts: a revocation names the nodes that have confirmed it, those that have not, and until when the others may go
// on; nodes of regions that never held the key are not asked.
func TestReceipts(t *testing.T) {
	f := start(t)
	f.node("good", "eu", true)
	f.node("deaf", "eu", false)
	f.node("far", "us", true)
	f.pool.Detach(time.Now(), f.node("lost", "eu", true), false, nil)
	id := f.addKey("a", `,"regions":["eu"]`)

	off := f.must("POST", "/admin/keys/disable?wait=0.2", `{"id":"`+id+`","force":true}`)
	f.want(off, "[good]", "receipt", "acknowledged")
	f.want(off, "[deaf]", "receipt", "pending")
	lost := list(off, "receipt", "unreachable")
	if len(lost) != 1 || lost[0]["node"] != "lost" {
		t.Fatalf("unreachable: %v", lost)
	}
	stops, err := time.Parse(time.RFC3339Nano, lost[0]["stopsBy"].(string))
	if err != nil || !stops.After(f.clock()) {
		t.Errorf("stopsBy %v, %v", stops, err)
	}
	f.want(f.must("DELETE", "/admin/api-keys/"+id+"?wait=0.2", ""), "[deaf]", "receipt", "pending")

	made := f.makeToken(`{"name":"x"}`)
	gone := f.must("DELETE", "/admin/tokens?wait=0.2", `{"id":"`+made+`"}`)
	f.want(gone, "[far good]", "receipt", "acknowledged")
	none := f.must("DELETE", "/admin/api-keys", `{"id":"`+id+`"}`)
	f.want(none, "[]", "receipt", "pending")
}

// TestWaitsForGrants: what gives something waits for the nodes too, but does not mind those that do not answer.
func TestWaitsForGrants(t *testing.T) {
	f := start(t)
	f.node("deaf", "eu", false)
	id := f.addKey("a", "")
	for _, row := range []struct {
		target, body string
		least, most  time.Duration
	}{
		{"/admin/keys/enable?wait=0.3", `{"id":"` + id + `"}`, 300 * time.Millisecond, 2 * time.Second},
		{"/admin/keys/enable", `{"id":"` + id + `"}`, 2 * time.Second, 5 * time.Second},
	} {
		begin := time.Now()
		f.must("POST", row.target, row.body)
		if took := time.Since(begin); took < row.least || took > row.most {
			t.Errorf("%s took %v", row.target, took)
		}
	}
}

func TestNodes(t *testing.T) {
	f := start(t)
	f.node("b", "eu", true)
	f.node("a", "us", true)
	id := f.addKey("a", `,"regions":["eu"]`)
	nodes := list(f.must("GET", "/admin/nodes", ""), "nodes")
	if len(nodes) != 2 || nodes[0]["id"] != "a" || nodes[1]["state"] != "live" || nodes[1]["region"] != "eu" {
		t.Errorf("got %v", nodes)
	}
	f.want(f.must("GET", "/admin/nodes/b", ""), "1", "leasesHeld")
	f.want(f.must("GET", "/admin/nodes/a", ""), "0", "leasesHeld")
	f.want(f.must("GET", "/admin/api-keys/"+id, ""), "[b]", "holders")
	f.want(list(f.must("GET", "/admin/api-keys", ""), "apiKeys")[0], "[b]", "holders")
	f.refuse("GET", "/admin/nodes/canary", "", 404, "NODE_NOT_FOUND", "")
}

func TestJoinTokens(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/nodes/join-tokens", `{"region":"eu-west","ttl":60}`)
	f.must("POST", "/admin/nodes/join-tokens", "")
	var stored []store.JoinToken
	err := f.store.View(func(tx *store.Tx) error {
		for jt, err := range tx.JoinTokens() {
			if err != nil {
				return err
			}
			stored = append(stored, jt)
		}
		return nil
	})
	if err != nil || len(stored) != 2 {
		t.Fatalf("%d tokens, %v", len(stored), err)
	}
	found := false
	for _, jt := range stored {
		life := jt.ExpireTime.Sub(f.clock()).Round(time.Second)
		switch jt.Region {
		case "eu-west":
			found = jt.Secret.Reveal() == made["joinToken"] && life == time.Minute
		default:
			if life != 15*time.Minute || len(jt.Secret.Reveal()) < 26 {
				t.Errorf("default life is %v", life)
			}
		}
	}
	if !found {
		t.Error("what was answered is not what is kept")
	}
	f.refuse("POST", "/admin/nodes/join-tokens", `{"region":"canary/x"}`, 400, "INVALID_ARGUMENT", "region")
	f.refuse("POST", "/admin/nodes/join-tokens", `{"ttl":0.5}`, 400, "INVALID_ARGUMENT", "ttl")
	f.refuse("POST", "/admin/nodes/join-tokens", `{"ttl":604801}`, 400, "INVALID_ARGUMENT", "ttl")
}
