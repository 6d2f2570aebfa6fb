package answers

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const ttl = 5 * time.Minute

func never(string) bool { return false }

// ask is the key of a question about n.
func ask(provider string, n int) Key {
	k, _ := Question{Token: 1, Provider: provider, Body: fmt.Appendf(nil, `{"n":%d}`, n)}.Key()
	return k
}

func said(text string) Answer { return Answer{ContentType: "application/json", Body: []byte(text)} }

// keep asks, as upstreams are asked, and keeps what they say.
func keep(t *testing.T, c *Cache, k Key, a Answer) {
	t.Helper()
	_, miss := c.Get(k, noon)
	if !c.Put(miss, a, ttl, noon) {
		t.Fatal("an answer was not kept")
	}
}

// holds says whether something is kept. It counts.
func holds(c *Cache, k Key, now time.Time) bool {
	a, _ := c.Get(k, now)
	return a != nil
}

func TestAHitIsWhatWasKept(t *testing.T) {
	c := New(Config{})
	body := append(make([]byte, 0, 100), "{\"a\": 1 }\n\xff"...)
	want := Answer{ContentType: "application/json; charset=utf-8", Body: bytes.Clone(body)}
	keep(t, c, ask("ollama", 1), Answer{ContentType: want.ContentType, Body: body})
	copy(body, "XXXXXXXX") // the caller's buffer serves the next request
	for range 2 {
		got, miss := c.Get(ask("ollama", 1), noon)
		if got == nil || miss != (Miss{}) {
			t.Fatalf("got %v, %v, want a hit", got, miss)
		}
		if got.ContentType != want.ContentType || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if cap(got.Body) != len(got.Body) {
			t.Error("two who append to the body write into the same memory")
		}
	}
	if holds(c, ask("ollama", 2), noon) || holds(c, ask("openrouter", 1), noon) {
		t.Error("another question has the same answer")
	}
}

func TestTheLaterOfTwoAnswersIsKept(t *testing.T) {
	c := New(Config{})
	_, first := c.Get(ask("ollama", 1), noon)
	_, second := c.Get(ask("ollama", 1), noon)
	for _, put := range []struct {
		miss Miss
		text string
	}{{second, "second"}, {first, "first, which is longer"}, {second, "second again"}} {
		if !c.Put(put.miss, said(put.text), ttl, noon) {
			t.Fatal("not kept")
		}
		if got, _ := c.Get(ask("ollama", 1), noon); string(got.Body) != put.text {
			t.Errorf("got %q, want %q", got.Body, put.text)
		}
		audit(t, c)
	}
}

func TestAnAnswerHasItsTime(t *testing.T) {
	for _, row := range []struct {
		ttl, later time.Duration
		kept       bool
	}{
		{time.Second, 0, true},
		{time.Second, time.Second - 1, true},
		{time.Second, time.Second, false},
		{time.Second, time.Second + 1, false},
		{1, 0, true},
		{1, 1, false},
		{24 * time.Hour, 24*time.Hour - 1, true},
		{24 * time.Hour, 24 * time.Hour, false},
	} {
		for _, told := range []bool{false, true} { // whether Status comes before
			c := New(Config{})
			_, miss := c.Get(ask("ollama", 1), noon)
			c.Put(miss, said("x"), row.ttl, noon)
			now := noon.Add(row.later)
			if told {
				want := 0
				if row.kept {
					want = 1
				}
				if got := c.Status(now, never)[0]; got.Answers != want || (got.Bytes > 0) != row.kept {
					t.Errorf("%v of %v: %+v, want %d answers", row.later, row.ttl, got, want)
				}
			}
			if kept := holds(c, ask("ollama", 1), now); kept != row.kept {
				t.Errorf("%v of %v: kept %v, want %v", row.later, row.ttl, kept, row.kept)
			}
			if got := c.Status(noon, never)[0]; (got.Answers == 1) != row.kept {
				t.Errorf("%v of %v: what is past its time is still there: %+v", row.later, row.ttl, got)
			}
			audit(t, c)
		}
	}
}

func TestWhatIsNotKept(t *testing.T) {
	c := New(Config{MaxBytes: 100_000, MaxAnswer: 1000})
	_, miss := c.Get(ask("ollama", 1), noon)
	sized := func(contentType, body int) Answer {
		return Answer{ContentType: strings.Repeat("t", contentType), Body: make([]byte, body)}
	}
	for _, row := range []struct {
		why  string
		miss Miss
		a    Answer
		ttl  time.Duration
		kept bool
	}{
		{"nobody asked", Miss{}, said("x"), ttl, false},
		{"no time", miss, said("x"), 0, false},
		{"less than no time", miss, said("x"), -1, false},
		{"too large", miss, sized(0, 1001), ttl, false},
		{"too large by its content type", miss, sized(500, 501), ttl, false},
		{"as large as may be", miss, sized(500, 500), ttl, true},
		{"empty", miss, Answer{}, ttl, true},
		{"for ever", miss, said("x"), math.MaxInt64, true},
	} {
		if kept := c.Put(row.miss, row.a, row.ttl, noon); kept != row.kept {
			t.Errorf("%s: kept %v, want %v", row.why, kept, row.kept)
		}
	}
	audit(t, c)
	small := New(Config{MaxBytes: 1000, MaxAnswer: 5000})
	if _, miss := small.Get(ask("ollama", 1), noon); small.Put(miss, sized(0, 1000), ttl, noon) {
		t.Error("an answer was kept that is larger than all there is room for")
	}
}

func TestTheZeroKeyHasNoAnswer(t *testing.T) {
	c := New(Config{})
	a, miss := c.Get(Key{}, noon)
	if a != nil || c.Put(miss, said("x"), ttl, noon) || holds(c, Key{}, noon) {
		t.Error("what has no key was kept")
	}
	if got := c.Status(noon, never); len(got) != 0 {
		t.Errorf("it was counted: %+v", got)
	}
}

func TestANewRevisionIsAskedAnew(t *testing.T) {
	c := New(Config{})
	of := func(revision uint64) Key {
		return keyOf(t, Question{Token: 1, Provider: "ollama", Revision: revision, Body: []byte(`{}`)})
	}
	keep(t, c, of(1), said("old"))
	if holds(c, of(2), noon) {
		t.Error("the new revision has the old answer")
	}
	if !holds(c, of(1), noon) {
		t.Error("who still has the old revision has lost its answer")
	}
}

func TestAClearIsForTheNamed(t *testing.T) {
	for _, row := range []struct {
		clear, left []string
	}{
		{[]string{"ollama"}, []string{"openrouter", "other"}},
		{[]string{"ollama", "other", "unknown"}, []string{"openrouter"}},
		{[]string{"unknown"}, []string{"ollama", "openrouter", "other"}},
		{nil, nil},
	} {
		c := New(Config{})
		asking := map[string][]Miss{}
		providers := []string{"ollama", "openrouter", "other"}
		for _, id := range providers {
			for n := range 100 {
				keep(t, c, ask(id, n), said("x"))
				_, miss := c.Get(ask(id, 100+n), noon)
				asking[id] = append(asking[id], miss)
			}
		}
		c.Clear(row.clear...)
		for _, s := range c.Status(noon, never) {
			if (s.Answers == 100) != slices.Contains(row.left, s.Provider) || (s.Answers == 0) != (s.Bytes == 0) || s.Misses != 200 {
				t.Errorf("clear %v: %+v", row.clear, s)
			}
		}
		for _, id := range providers {
			left := slices.Contains(row.left, id)
			for n, miss := range asking[id] {
				if kept := c.Put(miss, said("late"), ttl, noon); kept != left || holds(c, ask(id, 100+n), noon) != left {
					t.Fatalf("clear %v: an answer of %s that was on its way: kept %v, want %v", row.clear, id, kept, left)
				}
				if holds(c, ask(id, n), noon) != left {
					t.Fatalf("clear %v: an answer of %s: want kept %v", row.clear, id, left)
				}
			}
			keep(t, c, ask(id, 1000), said("asked afterwards"))
		}
		audit(t, c)
	}
}

func TestProvidersThatAreGoneAreForgotten(t *testing.T) {
	c := New(Config{})
	keep(t, c, ask("gone", 1), said("x"))
	keep(t, c, ask("here", 1), said("x"))
	holds(c, ask("gone", 1), noon)
	_, asking := c.Get(ask("gone", 2), noon)
	asked := map[string]int{}
	got := c.Status(noon, func(id string) bool {
		asked[id]++
		c.Get(ask("here", 1), noon) // no lock is held
		return id == "gone"
	})
	if len(got) != 1 || got[0].Provider != "here" || got[0].Answers != 1 || got[0].Misses != 1 {
		t.Errorf("got %+v, want here alone", got)
	}
	if asked["gone"] != 1 || asked["here"] != 1 {
		t.Errorf("asked %v, want once each", asked)
	}
	audit(t, c)
	if c.Put(asking, said("late"), ttl, noon) {
		t.Error("an answer of a provider that is gone was kept")
	}
	if holds(c, ask("gone", 1), noon) {
		t.Error("a provider that came back has its old answers")
	}
	holds(c, ask("gone", 2), noon) // its shelf is there again
	if c.Put(asking, said("late"), ttl, noon) {
		t.Error("an answer from before the provider was gone was kept")
	}
	if got := c.Status(noon, never)[0]; got != (Status{Provider: "gone", Misses: 2}) {
		t.Errorf("a provider that came back begins with %+v", got)
	}
}

func TestStatusCounts(t *testing.T) {
	c := New(Config{})
	for n := range 50 {
		keep(t, c, ask("b", n), said(strings.Repeat("x", 1000)))
		keep(t, c, ask("a", n), said("x"))
		holds(c, ask("a", n), noon)
		holds(c, ask("a", n), noon)
	}
	got := c.Status(noon, never)
	if len(got) != 2 || got[0].Provider != "a" || got[1].Provider != "b" {
		t.Fatalf("got %+v, want a and b", got)
	}
	a, b := got[0], got[1]
	if a.Answers != 50 || a.Hits != 100 || a.Misses != 50 || b.Answers != 50 || b.Hits != 0 || b.Misses != 50 {
		t.Errorf("got %+v", got)
	}
	if least := uint64(50 * (overhead + len("application/json"))); a.Bytes < least+50 || a.Bytes > least+50*16 || b.Bytes < least+50_000 || b.Bytes > least+60_000 {
		t.Errorf("got %d and %d bytes", a.Bytes, b.Bytes)
	}
}
