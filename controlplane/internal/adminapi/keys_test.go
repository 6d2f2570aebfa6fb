package adminapi_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

func TestKeyLife(t *testing.T) {
	f := start(t)
	made := f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("one-one-one")+`","username":"ann","ttl":3600,"models":["llama*"],"weight":7,"regions":["eu-west"]}`)
	f.want(made, "true", "created")
	f.want(made, "ann", "apiKey", "label")
	f.want(made, "ollama", "apiKey", "provider")
	f.want(made, "active", "apiKey", "status")
	f.want(made, "7", "apiKey", "weight")
	f.want(made, "0", "apiKey", "priority")
	f.want(made, "sk-c…-one", "apiKey", "display")
	id := at(made, "apiKey", "id").(string)

	again := f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf("one-one-one")+`","label":"other","weight":9}`)
	f.want(again, "false", "created")
	f.want(again, id, "apiKey", "id")
	f.want(again, "ann", "apiKey", "label")
	f.want(again, "7", "apiKey", "weight")
	elsewhere := f.refuse("POST", "/admin/api-keys?provider=openrouter", `{"apiKey":"`+secretOf("one-one-one")+`"}`, 409, "KEY_BELONGS_TO_OTHER_PROVIDER", "apiKey")
	if !slices.ContainsFunc(list(elsewhere, "details"), func(d object) bool { return d["id"] == id }) {
		t.Error("the conflict does not carry the key")
	}

	key := f.must("GET", "/admin/api-keys/"+id, "")
	f.want(key, id, "id")
	f.want(key, "[llama*]", "models")
	f.must("GET", "/admin/api-keys/"+id+"?provider=ollama", "")
	f.refuse("GET", "/admin/api-keys/"+id+"?provider=openrouter", "", 404, "KEY_NOT_FOUND", "")

	patched := f.must("PATCH", "/admin/api-keys/"+id, `{"label":"bob","models":[],"expireTime":null,"revision":"`+key["revision"].(string)+`"}`)
	f.want(patched, "bob", "label")
	f.want(patched, "[]", "models")
	f.want(patched, "7", "weight")
	f.want(patched, "<nil>", "expireTime")
	lost := f.refuse("PATCH", "/admin/api-keys/"+id, `{"label":"eve","revision":"`+key["revision"].(string)+`"}`, 409, "REVISION_CONFLICT", "revision")
	if !slices.ContainsFunc(list(lost, "details"), func(d object) bool { return d["label"] == "bob" && d["revision"] == patched["revision"] }) {
		t.Error("the conflict does not carry the key as it is")
	}

	f.want(f.must("PATCH", "/admin/api-keys/"+id, fmt.Sprintf(`{"expireTime":%q}`, f.clock().Add(time.Hour).UTC().Format(time.RFC3339))), "active", "status")
	f.pass(2 * time.Hour)
	f.want(f.must("GET", "/admin/api-keys/"+id, ""), "expired", "status")
	f.must("DELETE", "/admin/api-keys/"+id, "")
	f.refuse("GET", "/admin/api-keys/"+id, "", 404, "KEY_NOT_FOUND", "")
	f.refuse("DELETE", "/admin/api-keys/"+id, "", 404, "KEY_NOT_FOUND", "")
	f.want(f.must("POST", "/admin/api-keys?provider=openrouter", `{"apiKey":"`+secretOf("one-one-one")+`"}`), "openrouter", "apiKey", "provider")
}

func TestKeyRefusals(t *testing.T) {
	f := start(t)
	id := f.addKey("here", "")
	const other = "k_0000000000000"
	secret := secretOf("x")
	for _, row := range []struct {
		method, target, body string
		status               int
		reason, names        string
	}{
		{"POST", "/admin/api-keys", ``, 400, "INVALID_ARGUMENT", "apiKey"},
		{"POST", "/admin/api-keys", `{"apiKey":" ` + secret + `"}`, 400, "INVALID_ARGUMENT", "apiKey: has white space"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `\n"}`, 400, "INVALID_ARGUMENT", "apiKey: has white space"},
		{"POST", "/admin/api-keys", `{"apiKey":"canary "}`, 400, "INVALID_ARGUMENT", "apiKey"},
		{"POST", "/admin/api-keys", `{"apiKey":"canary1"}`, 400, "INVALID_ARGUMENT", "apiKey: must have 8 to 512"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + strings.Repeat("canary", 100) + `"}`, 400, "INVALID_ARGUMENT", "apiKey: must have 8 to 512"},
		{"POST", "/admin/api-keys", `{"apiKey":"canary canary"}`, 400, "INVALID_ARGUMENT", "apiKey: must be made of visible"},
		{"POST", "/admin/api-keys", `{"apiKey":"canary-schlüssel"}`, 400, "INVALID_ARGUMENT", "apiKey"},
		{"POST", "/admin/api-keys", `{"apiKey":"ann@example.com----canary----session----` + secret + `"}`, 400, "INVALID_ARGUMENT", "apiKey: is a whole line"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","provider":"nobody"}`, 404, "PROVIDER_NOT_FOUND", "provider"},
		{"POST", "/admin/api-keys?provider=openrouter", `{"apiKey":"` + secret + `","provider":"ollama"}`, 400, "INVALID_ARGUMENT", "provider: differs"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","label":"canary-a","username":"canary-b"}`, 400, "INVALID_ARGUMENT", "username"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","label":"` + strings.Repeat("canary", 40) + `"}`, 400, "INVALID_ARGUMENT", "label"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","label":"canary\u001b[2J"}`, 400, "INVALID_ARGUMENT", "label"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","label":"canary\u202egnp.exe"}`, 400, "INVALID_ARGUMENT", "label"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","label":"canary\u2028line"}`, 400, "INVALID_ARGUMENT", "label"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","models":["canary\u2066"]}`, 400, "INVALID_ARGUMENT", "models[0]"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","ttl":-1}`, 400, "INVALID_ARGUMENT", "ttl"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","ttl":1e300}`, 400, "INVALID_ARGUMENT", "ttl"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","weight":0}`, 400, "INVALID_ARGUMENT", "weight"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","weight":101}`, 400, "INVALID_ARGUMENT", "weight"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","priority":-1}`, 400, "INVALID_ARGUMENT", "priority"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","models":["a",""]}`, 400, "INVALID_ARGUMENT", "models[1]"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","models":["canary b"]}`, 400, "INVALID_ARGUMENT", "models[0]"},
		{"POST", "/admin/api-keys", `{"apiKey":"` + secret + `","regions":["ok","canary/b"]}`, 400, "INVALID_ARGUMENT", "regions[1]"},

		{"PATCH", "/admin/api-keys/" + id, `{}`, 400, "INVALID_ARGUMENT", "name at least one field"},
		{"PATCH", "/admin/api-keys/" + id, `{"revision":"1"}`, 400, "INVALID_ARGUMENT", "name at least one field"},
		{"PATCH", "/admin/api-keys/" + id, `{"provider":"openrouter"}`, 400, "INVALID_ARGUMENT", "provider: cannot be changed"},
		{"PATCH", "/admin/api-keys/" + id, `{"label":"x","createTime":"2020-01-01T00:00:00Z"}`, 400, "INVALID_ARGUMENT", "createTime: cannot be changed"},
		{"PATCH", "/admin/api-keys/" + id, `{"stats":{"total":5}}`, 400, "INVALID_ARGUMENT", "stats.total: cannot be changed"},
		{"PATCH", "/admin/api-keys/" + id, `{"status":"active"}`, 400, "INVALID_ARGUMENT", "status"},
		{"PATCH", "/admin/api-keys/" + id, `{"note":"x"}`, 400, "INVALID_ARGUMENT", "note"},
		{"PATCH", "/admin/api-keys/" + id, `{"apiKey":"` + secret + `"}`, 400, "MALFORMED_BODY", "apiKey: unknown field"},
		{"PATCH", "/admin/api-keys/" + id, `{"weight":0}`, 400, "INVALID_ARGUMENT", "weight"},
		{"PATCH", "/admin/api-keys/" + id, `{"priority":1000}`, 400, "INVALID_ARGUMENT", "priority"},
		{"PATCH", "/admin/api-keys/" + id, `{"label":"` + strings.Repeat("canary", 40) + `"}`, 400, "INVALID_ARGUMENT", "label"},
		{"PATCH", "/admin/api-keys/" + id, `{"models":["canary b"]}`, 400, "INVALID_ARGUMENT", "models[0]"},
		{"PATCH", "/admin/api-keys/" + id + "?provider=openrouter", `{"label":"x"}`, 404, "KEY_NOT_FOUND", ""},
		{"PATCH", "/admin/api-keys/" + other, `{"label":"x"}`, 404, "KEY_NOT_FOUND", ""},
		{"PATCH", "/admin/api-keys/" + secret, `{"label":"x"}`, 404, "KEY_NOT_FOUND", ""},

		{"GET", "/admin/api-keys/" + secret, "", 404, "KEY_NOT_FOUND", ""},
		{"GET", "/admin/api-keys/" + other, "", 404, "KEY_NOT_FOUND", ""},
		{"GET", "/admin/api-keys?status=canary", "", 400, "INVALID_ARGUMENT", "status"},
		{"GET", "/admin/api-keys?reason=canary", "", 400, "INVALID_ARGUMENT", "reason"},
		{"GET", "/admin/api-keys?pageSize=1001", "", 400, "INVALID_ARGUMENT", "pageSize"},
		{"GET", "/admin/api-keys?pageToken=canary", "", 400, "INVALID_ARGUMENT", "pageToken"},
		{"GET", "/admin/api-keys?provider=nobody", "", 404, "PROVIDER_NOT_FOUND", "provider"},

		{"DELETE", "/admin/api-keys", ``, 400, "INVALID_ARGUMENT", "name at least one key"},
		{"DELETE", "/admin/api-keys", `{"provider":"ollama"}`, 400, "INVALID_ARGUMENT", "name at least one key"},
		{"DELETE", "/admin/api-keys", `{"ids":[]}`, 400, "INVALID_ARGUMENT", "name at least one key"},
		{"DELETE", "/admin/api-keys/" + id + "?provider=openrouter", ``, 404, "KEY_NOT_FOUND", ""},
		{"DELETE", "/admin/api-keys/" + id + "?wait=61", ``, 400, "INVALID_ARGUMENT", "wait"},
		{"DELETE", "/admin/api-keys/" + id + "?wait=NaN", ``, 400, "INVALID_ARGUMENT", "wait"},
		{"POST", "/admin/keys/enable", `{}`, 400, "INVALID_ARGUMENT", "name at least one key"},
		{"POST", "/admin/keys/disable", `{"note":"x"}`, 400, "INVALID_ARGUMENT", "name at least one key"},
		{"POST", "/admin/keys/disable", `{"ids":["` + id + `","` + other + `"]}`, 404, "KEY_NOT_FOUND", "ids[1]"},
		{"POST", "/admin/keys/disable", `{"apiKey":"` + secret + `"}`, 404, "KEY_NOT_FOUND", "apiKey"},
		{"POST", "/admin/keys/disable?provider=openrouter", `{"id":"` + id + `"}`, 404, "KEY_NOT_FOUND", "id"},
		{"POST", "/admin/keys/disable?wait=canary", `{"id":"` + id + `"}`, 400, "INVALID_ARGUMENT", "wait"},
		{"POST", "/admin/keys/disable", `{"id":"` + id + `","duration":-1}`, 400, "INVALID_ARGUMENT", "duration"},
		{"POST", "/admin/keys/disable", `{"id":"` + id + `","note":"` + strings.Repeat("canary", 100) + `"}`, 400, "INVALID_ARGUMENT", "note"},
	} {
		f.refuse(row.method, row.target, row.body, row.status, row.reason, row.names)
	}
	key := f.must("GET", "/admin/api-keys/"+id, "")
	f.want(key, "active", "status")
	f.want(f.must("GET", "/admin/api-keys", ""), "1", "total")
}

func TestBulk(t *testing.T) {
	f := start(t)
	a, b, c := f.addKey("a", ""), f.addKey("b", ""), f.addKey("c", `,"provider":"openrouter"`)

	off := f.must("POST", "/admin/keys/disable", `{"id":"`+b+`","ids":["`+a+`","`+b+`"],"apiKey":"`+secretOf("c")+`","note":"leaked","duration":60,"force":true}`)
	var ids []string
	for _, k := range list(off, "apiKeys") {
		ids = append(ids, k["id"].(string))
		f.want(k, "disabled", "status")
		f.want(k, "admin", "reason")
		f.want(k, "leaked", "note")
	}
	if !slices.Equal(ids, []string{c, b, a}) {
		t.Errorf("disabled %v, want each once in the order named", ids)
	}
	f.pass(61 * time.Second)
	f.want(f.must("GET", "/admin/api-keys/"+a, ""), "active", "status")

	f.must("POST", "/admin/keys/disable", `{"id":"`+a+`"}`)
	f.refuse("POST", "/admin/keys/disable", `{"id":"`+b+`"}`, 409, "LAST_USABLE_KEY", "say force")
	f.refuse("POST", "/admin/keys/disable", `{"ids":["`+a+`","`+b+`"]}`, 409, "LAST_USABLE_KEY", "say force")
	f.must("POST", "/admin/keys/disable", `{"id":"`+a+`","note":"again: it was not usable"}`)
	f.pass(1000 * time.Hour)
	f.want(f.must("GET", "/admin/api-keys/"+a, ""), "disabled", "status")
	f.refuse("POST", "/admin/keys/enable", `{"id":"`+a+`","note":"`+strings.Repeat("canary", 100)+`"}`, 400, "INVALID_ARGUMENT", "note")
	on := f.must("POST", "/admin/keys/enable", `{"id":"`+a+`","note":"found again"}`)
	f.want(list(on, "apiKeys")[0], "found again", "note")
	f.want(on, "[]", "receipt", "pending")
	f.want(list(on, "apiKeys")[0], "active", "status")

	gone := f.must("DELETE", "/admin/api-keys?provider=ollama", `{"apiKeys":["`+secretOf("a")+`","`+secretOf("nobody")+`"],"ids":["`+a+`","`+b+`","`+c+`","x","x"]}`)
	f.want(gone, "2", "deleted")
	f.want(gone, "3", "notFound")
	left := f.must("GET", "/admin/api-keys", "")
	if f.want(left, "1", "total"); list(left, "apiKeys")[0]["id"] != c {
		t.Error("a key of another provider was deleted")
	}
}

// TestConcurrentAdds: many callers add the same keys at once; each key is there once, and was created once.
func TestConcurrentAdds(t *testing.T) {
	f := start(t)
	const callers, keys = 16, 20
	var created atomic.Int32
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for i := range keys {
				code, o := f.call("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":"%s"}`, secretOf(fmt.Sprint("concurrent-", i))))
				if code != 200 {
					t.Errorf("got %d %v", code, o)
				}
				if at(o, "created") == true {
					created.Add(1)
				}
			}
		})
	}
	done.Wait()
	f.want(f.must("GET", "/admin/api-keys", ""), fmt.Sprint(keys), "total")
	if created.Load() != keys {
		t.Errorf("%d were created, want %d", created.Load(), keys)
	}
}

// An operator's enable clears what was held against a key.
func TestEnableClearsHealth(t *testing.T) {
	f := start(t)
	id := f.addKey("a", "")
	key, err := pool.ParseKeyID(id)
	if err != nil {
		t.Fatal(err)
	}
	k := f.stored(key)
	f.pool.Load(f.clock(), nil, []pool.Health{{Key: key, Generation: k.Generation, Phase: pool.AutoOff, Reason: pool.AuthRejected, Until: f.clock().Add(time.Hour), Strikes: 3}})
	bad := f.must("GET", "/admin/api-keys?status=auto_disabled&reason=auth_rejected", "")
	f.want(bad, "1", "total")
	f.want(list(bad, "apiKeys")[0], "3", "stats", "consecutiveFailures")
	good := list(f.must("POST", "/admin/keys/enable", `{"apiKey":"`+secretOf("a")+`"}`), "apiKeys")[0]
	f.want(good, "active", "status")
	f.want(good, "0", "stats", "consecutiveFailures")
}

func (f *fixture) stored(id pool.KeyID) (k pool.Key) {
	f.t.Helper()
	err := f.store.View(func(tx *store.Tx) (err error) {
		k, err = tx.Key(id)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return k
}

func TestListing(t *testing.T) {
	f := start(t)
	want := map[string]bool{}
	for i := range 25 {
		more := fmt.Sprintf(`,"label":"Label %d"`, i)
		if i%5 == 0 {
			more += `,"provider":"openrouter"`
		}
		want[f.addKey(fmt.Sprintf("number-%04d", i), more)] = true
	}
	seen := map[string]bool{}
	token, pages, last := "", 0, ""
	for {
		page := f.must("GET", "/admin/api-keys?pageSize=7&pageToken="+token, "")
		f.want(page, "25", "total")
		for _, k := range list(page, "apiKeys") {
			id := k["id"].(string)
			if seen[id] || !want[id] || id <= last {
				t.Errorf("%s is repeated, unknown or out of order", id)
			}
			seen[id], last = true, id
		}
		pages++
		if token = page["nextPageToken"].(string); token == "" {
			break
		}
		if pages == 1 {
			f.refuse("GET", "/admin/api-keys?provider=ollama&pageToken="+token, "", 400, "INVALID_ARGUMENT", "pageToken")
			f.refuse("GET", "/admin/keys/stats?pageToken="+token, "", 400, "INVALID_ARGUMENT", "pageToken")
			f.must("DELETE", "/admin/api-keys/"+f.addKey("between", ""), "") // paging goes on over a change of the list
		}
	}
	if len(seen) != 25 || pages != 4 {
		t.Errorf("%d keys on %d pages", len(seen), pages)
	}
	for query, total := range map[string]string{
		"?provider=openrouter": "5", "?provider=ollama": "20", "?status=active": "25", "?status=disabled": "0", "?search=label+7": "1",
		"?search=0013": "1", "?search=" + last: "1", "?search=sk-c": "0", "?search=nothing": "0", "?reason=admin": "0", "?pageSize=25": "25",
	} {
		page := f.must("GET", "/admin/api-keys"+query, "")
		f.want(page, total, "total")
		f.want(page, "", "nextPageToken")
	}
}

// Of many changes that were made on the same revision one wins; the others are told what is there now.
func TestOfConcurrentChangesOnOneRevisionOneWins(t *testing.T) {
	f := start(t)
	id := f.addKey("contended", "")
	revision, _ := f.must("GET", "/admin/api-keys/"+id, "")["revision"].(string)
	var won, lost atomic.Int32
	var clients sync.WaitGroup
	for n := range 16 {
		clients.Go(func() {
			status, _ := f.call("PATCH", "/admin/api-keys/"+id, fmt.Sprintf(`{"label":"l%d","revision":%q}`, n, revision))
			switch status {
			case 200:
				won.Add(1)
			case 409:
				lost.Add(1)
			}
		})
	}
	clients.Wait()
	if won.Load() != 1 || lost.Load() != 15 {
		t.Errorf("%d won and %d lost", won.Load(), lost.Load())
	}
}
