package adminapi_test

import (
	"maps"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

// order answers the next command that a node is told.
func (f *fixture) order(s *pool.Session) *pool.Command {
	for o := s.Next(f.clock()); o != nil; o = s.Next(f.clock()) {
		if o.Command != nil {
			return o.Command
		}
	}
	return nil
}

func (f *fixture) kept() (n pool.NodeRecord) {
	f.t.Helper()
	if err := f.store.View(func(tx *store.Tx) (err error) { n, err = tx.Node("a"); return err }); err != nil {
		f.t.Fatal(err)
	}
	return n
}

func TestDrainAndResume(t *testing.T) {
	f := start(t)
	a := f.node("a", "eu", false)
	f.node("b", "eu", true)
	for _, row := range []struct {
		order, state string
		told         bool
	}{
		{"drain", "draining", true},
		{"drain", "draining", false},
		{"resume", "live", true},
		{"resume", "live", false},
	} {
		f.want(f.must("POST", "/admin/nodes/a:"+row.order+"?wait=0", ""), row.state, "state")
		f.want(f.must("GET", "/admin/nodes/a", ""), row.state, "state")
		f.want(f.must("GET", "/admin/nodes/b", ""), "live", "state")
		if c := f.order(a); (c != nil) != row.told || c != nil && (c.Drain == nil || *c.Drain != (row.order == "drain")) {
			t.Errorf("%s: the node is told %+v", row.order, c)
		}
		if f.kept().Drained != (row.order == "drain") {
			t.Errorf("%s: kept as %+v", row.order, f.kept())
		}
	}
	f.must("POST", "/admin/nodes/a:drain?wait=0", "")
	f.pool.Detach(f.clock(), a, false, nil)
	f.want(f.must("GET", "/admin/nodes/a", ""), "away", "state")
	f.want(f.must("POST", "/admin/nodes/a:drain", ""), "away", "state")
	f.pool.Attach(f.clock(), pool.Hello{Node: "a", Epoch: 1})
	f.want(f.must("GET", "/admin/nodes/a", ""), "draining", "state")
	for _, order := range []string{"drain", "resume", "evict"} {
		f.refuse("POST", "/admin/nodes/canary:"+order, "", 404, "NODE_NOT_FOUND", "no such node")
		f.refuse("POST", "/admin/nodes/a:"+order+"?wait=61", "", 400, "INVALID_ARGUMENT", "wait")
		f.refuse("POST", "/admin/nodes/a:"+order, `{"id":"b"}`, 400, "INVALID_ARGUMENT", "id")
		f.refuse("POST", "/admin/nodes/a:"+order, `{"colour":"canary"}`, 400, "MALFORMED_BODY", "colour: unknown field")
	}
	f.want(f.must("GET", "/admin/nodes/a", ""), "draining", "state")
}

func TestEvictionReceipts(t *testing.T) {
	f := start(t)
	f.node("good", "eu", true)
	f.node("deaf", "eu", false)
	f.pool.Detach(f.clock(), f.node("lost", "eu", true), false, nil)
	f.pool.Detach(f.clock(), f.node("left", "eu", true), true, nil)
	f.update(func(tx *store.Tx) error {
		return tx.PutNode(pool.NodeRecord{ID: "never", Region: "eu", JoinTime: f.clock()})
	})
	for _, row := range []struct{ node, acknowledged, pending string }{
		{"good", "[good]", "[]"},
		{"deaf", "[]", "[deaf]"},
		{"lost", "[]", "[]"},
		{"left", "[left]", "[]"},
		{"never", "[never]", "[]"},
	} {
		for range 2 { // who evicts it again is told how that stands
			out := f.must("POST", "/admin/nodes/"+row.node+":evict?wait=0.2", "")
			f.want(out, "evicted", "node", "state")
			f.want(out, row.acknowledged, "receipt", "acknowledged")
			f.want(out, row.pending, "receipt", "pending")
			far := list(out, "receipt", "unreachable")
			if (len(far) == 1) != (row.node == "lost") {
				t.Errorf("%s: out of reach are %v", row.node, far)
			}
			for _, u := range far {
				by, err := time.Parse(time.RFC3339Nano, u["stopsBy"].(string))
				if u["node"] != "lost" || err != nil || !by.After(f.clock().Add(time.Hour)) {
					t.Errorf("%s: %v", row.node, u)
				}
			}
		}
		f.want(f.must("GET", "/admin/nodes/"+row.node, ""), "evicted", "state")
		for _, order := range []string{"drain", "resume"} {
			f.refuse("POST", "/admin/nodes/"+row.node+":"+order, "", 400, "NODE_EVICTED", "evicted")
		}
	}
	f.pass(5 * time.Hour)
	f.want(f.must("POST", "/admin/nodes/lost:evict", ""), "[lost]", "receipt", "acknowledged")
}

// The first time counts: evicting again changes nothing.
func TestAnEvictionKeepsItsTime(t *testing.T) {
	f := start(t)
	f.node("a", "eu", true)
	began := f.clock()
	f.must("POST", "/admin/nodes/a:evict", "")
	f.pass(time.Hour)
	f.must("POST", "/admin/nodes/a:evict", "")
	if got := f.kept().EvictTime; !got.Equal(began) {
		t.Errorf("evicted at %v, want %v", got, began)
	}
}

// A node is told that requests under way are to end with the disable or the removal itself, and only where that was asked for.
func TestRequestsUnderWayAreCutWithTheKey(t *testing.T) {
	f := start(t)
	f.addKey("stays", "")
	ids := map[string]string{}
	for _, name := range []string{"off", "off-cut", "gone", "gone-cut"} {
		ids[name] = f.addKey(name, "")
	}
	last := f.addKey("last", `,"provider":"openrouter"`)
	s := f.node("a", "eu", false)
	for s.Next(f.clock()) != nil { // the sync
	}
	f.refuse("POST", "/admin/keys/disable", `{"id":"`+last+`","cancelInFlight":true}`, 409, "LAST_USABLE_KEY", "say force")
	f.must("POST", "/admin/keys/disable?wait=0", `{"id":"`+last+`","force":true}`)
	f.must("POST", "/admin/keys/disable?wait=0", `{"id":"`+ids["off"]+`"}`)
	f.must("POST", "/admin/keys/disable?wait=0", `{"id":"`+ids["off-cut"]+`","cancelInFlight":true}`)
	f.must("DELETE", "/admin/api-keys?wait=0", `{"id":"`+ids["gone"]+`"}`)
	f.must("DELETE", "/admin/api-keys?wait=0", `{"apiKey":"`+secretOf("gone-cut")+`","cancelInFlight":true}`)
	f.wantCut(s, map[string]bool{last: false, ids["off"]: false, ids["off-cut"]: true, ids["gone"]: false, ids["gone-cut"]: true})

	// A plain disable takes nothing back of one that is in force; after an enable it is plain.
	f.must("POST", "/admin/keys/disable?wait=0", `{"id":"`+ids["off-cut"]+`","note":"who did that?"}`)
	f.wantCut(s, map[string]bool{ids["off-cut"]: true})
	f.must("POST", "/admin/keys/enable?wait=0", `{"id":"`+ids["off-cut"]+`"}`)
	f.must("POST", "/admin/keys/disable?wait=0", `{"id":"`+ids["off-cut"]+`"}`)
	f.wantCut(s, map[string]bool{ids["off-cut"]: false})
	f.refuse("POST", "/admin/keys/disable", `{"id":"`+ids["off"]+`","cancelInFlight":"canary"}`, 400, "MALFORMED_BODY", "cancelInFlight")
}

// wantCut holds what a node is told of keys that go, and whether requests under way with them are to end.
func (f *fixture) wantCut(s *pool.Session, want map[string]bool) {
	f.t.Helper()
	cut := map[string]bool{}
	for o := s.Next(f.clock()); o != nil; o = s.Next(f.clock()) {
		if o.Health != nil {
			for _, k := range o.Health.Keys {
				cut[k.Key.String()] = k.Cut
			}
		}
		if o.Delta != nil {
			for i, id := range o.Delta.RemovedKeys {
				cut[id.String()] = o.Delta.RemovedKeysCut[i]
			}
		}
	}
	if !maps.Equal(cut, want) {
		f.t.Errorf("told to cut off %v, want %v", cut, want)
	}
}
