package proxy

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
)

// shuffledBook lends in any order, as many nodes' traffic would have it.
type shuffledBook struct{ *fakeBook }

func (b shuffledBook) lend(ctx context.Context, w leases.Want, patience time.Duration) (loan, error) {
	b.mu.Lock()
	keys := slices.Clone(b.keys[w.Provider])
	rand.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	b.keys[w.Provider] = keys
	b.mu.Unlock()
	return b.fakeBook.lend(ctx, w, patience)
}

// whims are what an upstream may do with a request.
var whims = []func(w http.ResponseWriter){
	func(w http.ResponseWriter) { sendJSON(w, 200, goodWhole) },
	func(w http.ResponseWriter) { sendJSON(w, 200, `{"error":{"message":"x"}}`) },
	func(w http.ResponseWriter) { sendJSON(w, 401, `{}`) },
	func(w http.ResponseWriter) { sendJSON(w, 402, `{}`) },
	func(w http.ResponseWriter) { sendJSON(w, 403, `{}`) },
	func(w http.ResponseWriter) { sendJSON(w, 409, `{}`) },
	func(w http.ResponseWriter) { sendJSON(w, 429, `{}`) },
	func(w http.ResponseWriter) { sendJSON(w, 500, `{}`) },
	func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
}

// whimsical sends 10,000 requests to providers in turn, whose upstream does anything with them. seen is told the provider,
// the request and the key of each call.
func whimsical(t *testing.T, providers []string, seen func(providerID, request, key string)) {
	t.Helper()
	book := newFakeBook("", 6)
	for _, id := range providers {
		up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var asked struct{ User string }
			_ = json.Unmarshal(body, &asked)
			seen(id, asked.User, r.Header.Get("Authorization"))
			whims[rand.IntN(len(whims))](w)
		}))
		up.Start()
		defer up.Close()
		book.providers[id].BaseURL = up.URL
	}
	p := newProxy(Config{}, shuffledBook{book})
	defer p.CloseIdle()
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := c; i < 10_000; i += 4 {
				id := providers[i%len(providers)]
				body := `{"model":"m","user":"r` + itoa(i) + `"}`
				r := httptest.NewRequest("POST", "/"+id+"/v1/chat/completions", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+clientToken)
				p.ServeHTTP(httptest.NewRecorder(), r)
			}
		})
	}
	clients.Wait()
	book.balanced(t)
}

// A key is tried at most once per request: no repeat in 10,000 requests.
func TestPredecessor_A5(t *testing.T) {
	var mu sync.Mutex
	calls, again := map[string]int{}, 0
	whimsical(t, []string{"ollama"}, func(_, request, key string) {
		mu.Lock()
		defer mu.Unlock()
		if calls[request+key]++; calls[request+key] > 1 {
			again++
		}
	})
	if again > 0 || len(calls) < 12_000 {
		t.Errorf("%d repeats in %d calls", again, len(calls))
	}
}

// The upstream of one provider never receives a key of another one, in 10,000 mixed requests.
func TestPredecessor_C1(t *testing.T) {
	var mu sync.Mutex
	calls, strays := 0, 0
	whimsical(t, []string{"ollama", "openrouter"}, func(providerID, _, key string) {
		mu.Lock()
		defer mu.Unlock()
		if calls++; !strings.Contains(key, keyCanary+"-"+providerID+"-") {
			strays++
		}
	})
	if strays > 0 || calls < 12_000 {
		t.Errorf("%d of %d calls came with a key of another provider", strays, calls)
	}
}

// An error is an object with four members, made anew: of the upstream's own only its words pass, redacted.
func TestPredecessor_A17(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		sendJSON(w, 400, `{"error":{"message":"bad: `+r.Header.Get("Authorization")+` at https://10.0.0.7/x","type":"odd_type",
			"param":"messages","code":"odd_code","internal":"secret thing","stack":["secret thing"]},"trace":"secret thing"}`)
	})
	a := b.chat(askWhole)
	var got map[string]map[string]string
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	e := got["error"]
	if len(got) != 1 || len(e) != 4 || e["type"] != "odd_type" || e["param"] != "messages" || e["code"] != "odd_code" {
		t.Errorf("got %s", a.body)
	}
	if e["message"] != "bad: Bearer [redacted] at [url]" {
		t.Errorf("message is %q", e["message"])
	}
}

// Health says only whether requests can be served, and asks nobody.
func TestPredecessor_C17(t *testing.T) {
	b := newBench(t, 3, noCalls(t))
	a := b.do(b.request("GET", "/health", "", "Authorization", ""))
	if a.status != 200 || a.body != `{"status":"ok","region":"here","version":"9.9"}` {
		t.Errorf("got %d %s", a.status, a.body)
	}
}
