package fakellm

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func control(t *testing.T, up *Upstream, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	up.Control().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w
}

func TestControl(t *testing.T) {
	r := newRig(t, Config{}, nil)
	steps := []struct {
		sentence     string
		method, body string
		code         int
		contains     string
		key          string
		status       int
	}{
		{"A key is unknown before it is put", "PUT", `{}`, 204, "", "key-a", 401},
		{"A put key is known", "PUT", `{"key-a":{},"key-b":{"status":429,"retry_after":"7"}}`, 204, "", "key-a", 200},
		{"Another put key behaves as it was told", "PUT", `{}`, 204, "", "key-b", 429},
		{"Putting merges", "PUT", `{"key-b":{}}`, 204, "", "key-a", 200},
		{"Putting replaces", "PUT", `{}`, 204, "", "key-b", 200},
		{"An impossible behaviour is refused by name", "PUT", `{"key-a":{"status":1}}`, 400, "status: must be", "key-a", 200},
		{"A misspelt behaviour is refused by name", "PUT", `{"key-a":{"stattus":500}}`, 400, "stattus", "key-a", 200},
		{"Rubbish after the object is refused", "PUT", `{"key-a":{"status":500}} x`, 400, "something follows", "key-a", 200},
		{"A deleted key is unknown", "DELETE", `["key-a"]`, 204, "", "key-a", 401},
		{"Other keys stay", "DELETE", `[]`, 204, "", "key-b", 200},
		{"Rubbish deletes nothing", "DELETE", `"key-b"`, 400, "array", "key-b", 200},
		{"Without a body all are deleted", "DELETE", ``, 204, "", "key-b", 401},
	}
	for _, s := range steps {
		w := control(t, r.up, s.method, "/keys", s.body)
		if w.Code != s.code || !strings.Contains(w.Body.String(), s.contains) {
			t.Errorf("%s: %d %s", s.sentence, w.Code, w.Body)
		}
		if got := r.chat(s.key, ask).status; got != s.status {
			t.Errorf("%s: the key answers %d, want %d", s.sentence, got, s.status)
		}
	}
	if w := control(t, r.up, "GET", "/keys", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("keys cannot be read back, got %d", w.Code)
	}
}

func TestLedgerIsTheSameByAllWays(t *testing.T) {
	var file bytes.Buffer
	up := New(Config{Ledger: &file, AcceptAnyKey: true, KeepHeaders: true})
	srv := httptest.NewServer(up)
	defer srv.Close()
	r := rig{t, up, srv.URL, srv.Client()}
	r.chat("key-a", askSSE, "User-Agent", "pool/1 (probe)", "Cookie", "c=1")
	r.chat("key-b", ask, "X-Api-Key", "key-c")
	r.do(http.MethodGet, "/v1/models?key=leak", "", "")

	direct := up.Ledger()
	fromFile, err := ReadLedger(&file)
	if err != nil {
		t.Fatal(err)
	}
	fromAPI, err := ReadLedger(control(t, up, "GET", "/ledger", "").Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(direct) != 3 || len(fromFile) != 3 || len(fromAPI) != 3 {
		t.Fatalf("%d, %d and %d entries, want 3", len(direct), len(fromFile), len(fromAPI))
	}
	for i := range direct {
		// A time that went through JSON has lost its monotonic part.
		direct[i].Start, direct[i].End = fromAPI[i].Start, fromAPI[i].End
	}
	if !reflect.DeepEqual(fromFile, fromAPI) || !reflect.DeepEqual(direct, fromAPI) {
		t.Errorf("direct %+v\nfile %+v\nAPI %+v", direct, fromFile, fromAPI)
	}
	if !direct[0].Probe || direct[1].Probe {
		t.Error("probes are known by their User-Agent")
	}
	if direct[1].Key != "key-b" || len(Violations(direct)) != 1 {
		t.Errorf("two credentials in one request: %+v", direct[1])
	}
	if len(SentHeader(direct, "Cookie")) != 1 || len(Carried(direct, "leak")) != 1 || direct[0].Headers.Get("Host") == "" {
		t.Error("headers and query must be kept when asked for")
	}
}

func TestHeadersAndBodiesAreNotKeptUnasked(t *testing.T) {
	r := newRig(t, Config{AcceptAnyKey: true}, nil)
	r.chat("key-a", ask)
	if e := r.last(); e.Headers != nil || e.Body != nil || e.Answer != nil {
		t.Errorf("kept %+v", e)
	}
}

func TestATornLedgerIsAnError(t *testing.T) {
	entries, err := ReadLedger(strings.NewReader(`{"seq":1}` + "\n" + `{"se`))
	if err == nil || len(entries) != 1 {
		t.Errorf("got %d entries and %v", len(entries), err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestALostLineIsNotForgotten(t *testing.T) {
	r := newRig(t, Config{Ledger: fullDisk{}}, nil)
	if w := control(t, r.up, "GET", "/healthz", ""); w.Code != 200 {
		t.Fatalf("healthy at first, got %d", w.Code)
	}
	r.chat("", ask)
	if w := control(t, r.up, "GET", "/healthz", ""); w.Code != 500 || r.up.LedgerErr() == nil {
		t.Errorf("got %d, %v", w.Code, r.up.LedgerErr())
	}
}

// TestManyAtOnce is for the race detector, and for the exactness of the count.
func TestManyAtOnce(t *testing.T) {
	var file bytes.Buffer
	up := New(Config{Ledger: &file})
	srv := httptest.NewServer(up)
	defer srv.Close()
	r := rig{t, up, srv.URL, srv.Client()}
	keys := map[string]Behaviour{"key-a": {}, "key-b": {Status: 500, Times: 10}, "key-c": {Limits: Limits{RequestsPerMinute: 25}}}
	if err := up.SetKeys(keys); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				for key := range keys {
					r.chat(key, askSSE)
				}
				up.Ledger()
			}
		})
	}
	wg.Wait()
	got := PerKey(up.Ledger())
	for key, want := range map[string]Count{"key-a": {Total: 40, OK: 40}, "key-b": {Total: 40, OK: 30, Refused: 10}, "key-c": {Total: 40, OK: 25, Refused: 15}} {
		want.PromptTokens, want.CompletionTokens = 2*want.OK, 3*want.OK
		if got[key] != want {
			t.Errorf("%s: %+v, want %+v", key, got[key], want)
		}
	}
	if lines, err := ReadLedger(&file); err != nil || len(lines) != 120 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
}
