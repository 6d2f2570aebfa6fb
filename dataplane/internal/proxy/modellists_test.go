package proxy

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/leases"
)

// kept compares what a heartbeat would tell, but for the sizes: there must be one if there is a list.
func (b *bench) kept(why string, want ...leases.CacheStatus) {
	b.t.Helper()
	got := b.proxy.Caches()
	for i, c := range got {
		if (c.Lists > 0) != (c.Bytes > 0) {
			b.t.Errorf("%s: %d lists of %d bytes", why, c.Lists, c.Bytes)
		}
		got[i].Bytes = 0
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s: got %+v, want %+v", why, got, want)
	}
}

func TestHitsAndMissesOfModelLists(t *testing.T) {
	var broken atomic.Bool
	inBubble(t, 2, func(w http.ResponseWriter, r *http.Request) {
		pause(r, time.Second)
		switch {
		case broken.Load():
			sendJSON(w, 500, `{}`)
		case r.URL.Path == "/api/tags":
			sendJSON(w, 200, tags)
		default:
			sendJSON(w, 200, `{"data":[{"id":"a/b"}]}`)
		}
	}, func(t *testing.T, b *bench) {
		b.kept("at first")
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { b.models("") })
		}
		all.Wait()
		b.models("openrouter")
		ollama, router := leases.CacheStatus{Provider: "ollama", Lists: 1, Misses: 1, Hits: 4}, leases.CacheStatus{Provider: "openrouter", Lists: 1, Misses: 1}
		b.kept("one asks for five", ollama, router)

		time.Sleep(listAge)
		broken.Store(true)
		b.models("")
		ollama.Misses++
		b.kept("the upstream is asked and in trouble", ollama, router)
		b.models("")
		ollama.Hits++
		b.kept("the old list is served", ollama, router)
		var others sync.WaitGroup
		for range 3 {
			others.Go(func() { b.models("other") })
		}
		others.Wait()
		other := leases.CacheStatus{Provider: "other", Misses: 1}
		b.kept("no list and none to be had: who waited had nothing", ollama, router, other)

		time.Sleep(listRetry)
		b.book.mu.Lock()
		b.book.keys["ollama"] = nil
		b.book.mu.Unlock()
		b.models("")
		ollama.Hits++
		b.kept("no key to ask with", ollama, router, other)

		b.proxy.Forget(nil)
		ollama.Lists, router.Lists = 0, 0
		b.kept("counts outlive a clear", ollama, router, other)

		b.book.mu.Lock()
		delete(b.book.providers, "openrouter")
		b.book.mu.Unlock()
		b.kept("a provider is gone", ollama, other)
		if n := len(b.proxy.lists.byID); n != 2 {
			t.Errorf("%d providers are kept", n)
		}
	})
}

func TestOnlyTheListsThatAreNamedAreForgotten(t *testing.T) {
	var calls atomic.Int32
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path == "/api/tags" {
			sendJSON(w, 200, tags)
			return
		}
		sendJSON(w, 200, `{"data":[{"id":"a/b"}]}`)
	}, func(t *testing.T, b *bench) {
		for _, row := range []struct {
			why    string
			forget []string
			asked  int32
		}{
			{"one", []string{"ollama"}, 1},
			{"two", []string{"openrouter", "ollama"}, 2},
			{"nobody's", []string{"nobody"}, 0},
			{"all", nil, 3},
		} {
			for _, id := range []string{"", "openrouter", "other"} {
				b.models(id)
			}
			b.proxy.Forget(row.forget)
			calls.Store(0)
			for _, id := range []string{"", "openrouter", "other"} {
				b.models(id)
			}
			if calls.Load() != row.asked {
				t.Errorf("%s forgotten: asked %d times, want %d", row.why, calls.Load(), row.asked)
			}
		}
	})
}

// A list that is on its way while it is cleared goes to those who wait for it and to nobody else.
func TestAListThatIsFetchedWhileItIsClearedIsNotKept(t *testing.T) {
	var calls atomic.Int32
	inBubble(t, 1, func(w http.ResponseWriter, r *http.Request) {
		n := calls.Add(1)
		pause(r, 10*time.Second)
		sendJSON(w, 200, fmt.Sprintf(`{"models":[{"name":"made-%d"}]}`, n))
	}, func(t *testing.T, b *bench) {
		const first, second = `{"object":"list","data":[{"id":"made-1","object":"model","created":0,"owned_by":"library"}]}`,
			`{"object":"list","data":[{"id":"made-2","object":"model","created":0,"owned_by":"library"}]}`
		var all sync.WaitGroup
		ask := func(why, want string) {
			all.Go(func() {
				if a := b.models(""); a.body != want {
					t.Errorf("%s: got %d %s", why, a.status, a.body)
				}
			})
			time.Sleep(time.Second)
		}
		ask("the one that asks", first)
		ask("one that waits", first)
		b.proxy.Forget([]string{"ollama"})
		ask("one that comes after the clear", second)
		ask("and one that waits for that", second)
		time.Sleep(7 * time.Second) // the first answer has come, the second has not
		ask("one that comes when the first answer has come", second)
		all.Wait()
		ask("one that comes late", second)
		all.Wait()
		if calls.Load() != 2 {
			t.Errorf("asked %d times, want 2", calls.Load())
		}
		b.kept("in the end", leases.CacheStatus{Provider: "ollama", Lists: 1, Misses: 2, Hits: 4})
	})
}

func TestManyProvidersThatComeAndGoLeaveNothingBehind(t *testing.T) {
	inBubble(t, 1, func(w http.ResponseWriter, _ *http.Request) { sendJSON(w, 200, tags) }, func(t *testing.T, b *bench) {
		for n := range 50 {
			id := fmt.Sprint("p", n)
			b.book.mu.Lock()
			mine := *b.book.providers["ollama"]
			mine.ID = id
			b.book.providers[id], b.book.keys[id] = &mine, b.book.keys["ollama"]
			b.book.mu.Unlock()
			if a := b.models(id); a.status != 200 {
				t.Fatalf("got %d", a.status)
			}
			b.models("nobody")
			b.book.mu.Lock()
			delete(b.book.providers, id)
			b.book.mu.Unlock()
			b.kept("it is gone")
		}
		if n := len(b.proxy.lists.byID); n != 0 {
			t.Errorf("%d providers are kept", n)
		}
	})
}
