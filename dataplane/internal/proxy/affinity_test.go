package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

func TestAffinity(t *testing.T) {
	b := newBench(t, 1, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sendJSON(w, 200, goodWhole)
	})
	kin := func(path, body string, header ...string) uint64 {
		t.Helper()
		b.book.wants = nil
		if a := b.do(b.request("POST", path, body, header...)); a.status != 200 || len(b.book.wants) != 1 {
			t.Fatalf("%d, %d keys wanted", a.status, len(b.book.wants))
		}
		return b.book.wants[0].Affinity
	}
	const chat = "/v1/chat/completions"
	long := `{"model":"m","messages":[{"role":"system","content":"` + strings.Repeat("you are kind ", 100) + `"},{"role":"user","content":"`
	named := kin(chat, `{"model":"m","prompt_cache_key":"a","messages":[1]}`)
	for _, row := range []struct {
		why  string
		got  uint64
		want bool // the same as named
	}{
		{"the same session", kin(chat, `{"model":"other","messages":[2],"prompt_cache_key":"a"}`), true},
		{"another session", kin(chat, `{"model":"m","prompt_cache_key":"b","messages":[1]}`), false},
		{"none", kin(chat, askWhole), false},
		{"an empty name", kin(chat, `{"model":"m","prompt_cache_key":"","messages":[1]}`), false},
	} {
		if (row.got == named) != row.want {
			t.Errorf("%s: %d, and %d", row.why, named, row.got)
		}
	}
	if other := kin("/api/chat", `{"model":"m"}`, "X-Session-Id", "a"); other != named {
		t.Errorf("a session has two affinities, by the body %d and by a header %d", named, other)
	}
	if kin(chat, askWhole) != 0 {
		t.Error("a request that names no session has an affinity")
	}
	if one, other := kin(chat, askWhole, "X-Session-Id", "s"), kin("/api/chat", `{"model":"m"}`, "session_id", "s"); one == 0 || one != other {
		t.Errorf("sessions named by header: %d and %d", one, other)
	}
	b.change(func(p *provider.Provider) { p.PromptAffinity = true })
	first := kin(chat, long+`hello"}]}`)
	if again := kin(chat, long+`something else"}]}`); first == 0 || again != first {
		t.Errorf("two that begin alike: %d and %d", first, again)
	}
	if other := kin(chat, askWhole); other == 0 || other == first {
		t.Errorf("one that begins otherwise: %d and %d", other, first)
	}
	if system, other := kin("/v1/messages", `{"model":"m","system":"a","messages":[1]}`), kin("/v1/messages", `{"model":"m","system":"b","messages":[1]}`); system == other {
		t.Error("what the system is told does not count")
	}
}

func TestPatienceCountsFromTheFirstKey(t *testing.T) {
	b := newBench(t, 3, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 429, `{}`) })
	b.change(func(p *provider.Provider) { p.Patience = 2 * time.Second })
	now := time.Now()
	b.proxy.now = func() time.Time { now = now.Add(100 * time.Millisecond); return now }
	b.chat(askWhole)
	last := 3 * time.Second
	for i, p := range b.book.patience {
		if p >= last || p < 0 || i == 0 && p != 2*time.Second {
			t.Errorf("the patience is %v", b.book.patience)
			break
		}
		last = p
	}
	if len(b.book.patience) != 4 {
		t.Errorf("%d keys were wanted", len(b.book.patience))
	}
	b.change(func(p *provider.Provider) { p.Patience = 0 })
	b.book.patience = nil
	b.chat(askWhole)
	if b.book.patience[0] != 0 {
		t.Errorf("without patience: %v", b.book.patience[0])
	}
}
