package adminapi_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
)

// Keys that many clients add at once are all there, also when the file is read anew.
func TestPredecessor_B2(t *testing.T) {
	f := start(t)
	const clients, adds = 16, 10_000
	var next, created atomic.Int64
	var done sync.WaitGroup
	for range clients {
		done.Go(func() {
			for n := next.Add(1); n <= adds; n = next.Add(1) {
				code, o := f.call("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":"%s"}`, secretOf(fmt.Sprint("add-", n))))
				if code != 200 {
					t.Errorf("add %d: %d %v", n, code, o)
				}
				if o["created"] == true {
					created.Add(1)
				}
			}
		})
	}
	done.Wait()
	f.want(f.must("GET", "/admin/api-keys", ""), fmt.Sprint(adds), "total")
	stored := 0
	if err := f.store.View(func(tx *store.Tx) error {
		for _, err := range tx.Keys() {
			if err != nil {
				return err
			}
			stored++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if created.Load() != adds || stored != adds {
		t.Errorf("%d were created and %d are stored, want %d", created.Load(), stored, adds)
	}
}

// An import takes a list for a list and a text for a text, says of each line what came of it, and is the same once and
// twice. Both importers of texts take the last field for the key. (That a chunk is added whole or not at all is shown in the
// tests of package store, where a disk can be made to fail.)
func TestPredecessor_B5(t *testing.T) {
	f := start(t, withUpstream)
	for path, bodies := range map[string][]string{
		"import":                 {`{"keys":"sk-canary"}`, `{"keys":{"0":"sk-canary"}}`, `{"keys":[["sk-canary"]]}`, `{"keys":7}`, `{"content":"sk-canary"}`, `{}`, ``},
		"import-from-txt":        {`{"content":["sk-canary-0123456"]}`, `{"content":7}`, `{"content":{"a":"sk-canary"}}`, `{"keys":["sk-canary"]}`, `{}`, ``},
		"import-with-validation": {`{"content":["sk-canary-0123456"]}`, `{"content":true}`, `{"keys":["sk-canary"]}`, `{}`, ``},
	} {
		for _, body := range bodies {
			if code, o := f.call("POST", "/admin/api-keys/"+path, body); code != 400 {
				t.Errorf("%s %s: got %d %v", path, body, code, o)
			}
		}
	}
	f.want(f.must("GET", "/admin/api-keys", ""), "0", "total")

	for _, path := range []string{"import-from-txt", "import-with-validation"} {
		var text strings.Builder
		for n := range 10 {
			fmt.Fprintf(&text, "ann@example.com----pw-canary----session-canary-0123456789----%s\n", secretOf(fmt.Sprint(path, "-four-", n)))
			fmt.Fprintf(&text, "ann@example.com----pw-canary----session-canary-0123456789----aid----%s\n", secretOf(fmt.Sprint(path, "-five-", n)))
		}
		text.WriteString("half----a----line-canary\n")
		body := `{"content":` + quoted(text.String()) + `%s}`
		const first, again = "map[added:20 duplicate:0 failed:0 invalid:1]", "map[added:0 duplicate:20 failed:0 invalid:1]"
		before := f.must("GET", "/admin/api-keys", "")["total"].(float64)
		f.want(f.must("POST", "/admin/api-keys/"+path, fmt.Sprintf(body, `,"dryRun":true`)), first, "counts")
		f.want(f.must("GET", "/admin/api-keys", ""), fmt.Sprint(before), "total")
		job := f.must("POST", "/admin/api-keys/"+path, fmt.Sprintf(body, ""))
		f.want(job, first, "counts")
		for n, r := range list(job, "results") {
			f.want(r, fmt.Sprint(n+1), "line")
			f.want(r, map[bool]string{true: "added", false: "invalid"}[n < 20], "result")
		}
		f.want(f.must("POST", "/admin/api-keys/"+path, fmt.Sprintf(body, "")), again, "counts")
		f.want(f.must("GET", "/admin/api-keys", ""), fmt.Sprint(before+20), "total")
		for n := range 10 { // the key is the last field, and nothing else is one
			for _, fields := range []string{"-four-", "-five-"} {
				f.want(f.must("POST", "/admin/api-keys", `{"apiKey":"`+secretOf(fmt.Sprint(path, fields, n))+`"}`), "false", "created")
			}
		}
	}
	f.want(f.must("DELETE", "/admin/api-keys", `{"apiKeys":["session-canary-0123456789","pw-canary"]}`), "0", "deleted")
}

// Whatever comes and goes while somebody turns the pages: what was there before and after is listed once.
func TestPredecessor_B6(t *testing.T) {
	f := start(t)
	many, size := 25_000, 1000
	if raced { // as many pages of fewer
		many, size = many/5, size/5
		t.Logf("with the race detector: %d keys and tokens", many)
	}
	add := func(from, to int) {
		f.update(func(tx *store.Tx) error {
			for n := from; n < to; n++ {
				if _, err := tx.PutKey(pool.Key{Provider: "ollama", Secret: pool.NewSecret(secretOf(fmt.Sprint("page-", n))), Weight: 1}); err != nil {
					return err
				}
				if _, err := tx.PutToken(pool.Token{Hash: sha256.Sum256(fmt.Append(nil, n)), Name: fmt.Sprint("page-", n)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for n := 0; n < many; n += many / 5 {
		add(n, n+many/5)
		f.pass(time.Second) // tokens are listed in the order they were made
	}
	here := map[string]bool{}
	f.pool.EachKey(0, func(v pool.KeyView) bool { here[v.Key.ID.String()] = true; return true })
	for _, token := range f.pool.Tokens() {
		here[token.ID.String()] = true
	}
	if len(here) != 2*many {
		t.Fatalf("%d keys and tokens to begin with", len(here))
	}
	next := many
	for path, field := range map[string]string{"/admin/api-keys": "apiKeys", "/admin/keys/stats": "keys", "/admin/tokens": "clientTokens"} {
		seen, pages := map[string]int{}, 0
		for token := ""; ; {
			var inserting sync.WaitGroup
			inserting.Go(func() { add(next, next+20) }) // before, during or after the page is made
			page := f.must("GET", fmt.Sprintf("%s?pageSize=%d&pageToken=%s", path, size, token), "")
			inserting.Wait()
			next += 20
			pages++
			for _, entry := range list(page, field) {
				seen[entry["id"].(string)]++
			}
			if token = page["nextPageToken"].(string); token == "" || pages > 3*many/size {
				break
			}
		}
		once, twice := 0, 0
		for id, times := range seen {
			if times > 1 {
				twice++
			}
			if here[id] {
				once++
			}
		}
		if twice > 0 || once != many || len(seen) == many {
			t.Errorf("%s: of %d that were there %d are listed, %d twice, and %d new ones, on %d pages", path, many, once, twice, len(seen)-once, pages)
		}
	}
}

// Of a line that cannot be taken the answer tells number and reason, in words too, and nothing that stands in it.
func TestPredecessor_C9(t *testing.T) {
	f := start(t, withUpstream)
	for _, row := range []struct{ line, reason string }{
		{"a@b.c----hunter2----s3ss", "wrong_fields"},
		{"a@b.c----hunter2----s3ss----", "no_key"},
		{"a@b.c----hunter2----s3ss----shrt", "bad_key"},
		{"a@b.c----hunter2----s3ss----" + strings.Repeat("s3ss", 200), "bad_key"},
		{"hunter2\u202e----" + secretOf("x"), "bad_label"},
		{secretOf("x") + "----a@b.c----hunter2----s3ss", "looks_swapped"},
		{"hunter2----s3ss----x----" + secretOf("x"), "looks_swapped"},
		{"a@b.c----hunter2----s3ss----" + secretOf("x-dead"), "auth_rejected"}, // this one's label may be told, once it is a key
	} {
		for _, path := range []string{"import-from-txt", "import-with-validation"} {
			if row.reason == "auth_rejected" && path == "import-from-txt" {
				continue // nobody is asked
			}
			job := f.must("POST", "/admin/api-keys/"+path, `{"content":`+quoted("\n"+row.line)+`}`)
			r := list(job, "results")[0]
			f.want(r, "2", "line")
			f.want(r, row.reason, "reason")
			if r["message"] == "" {
				t.Errorf("%s is not told in words", row.reason)
			}
			for _, word := range []string{"hunter2", "s3ss", "a@b.c", "shrt"} {
				if strings.Contains(fmt.Sprint(job), word) || strings.Contains(f.log.String(), word) {
					t.Errorf("%s: an answer or log line says %q", row.line, word)
				}
			}
		}
	}
}
