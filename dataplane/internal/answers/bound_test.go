package answers

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// audit counts all there is once more, by hand.
func audit(t *testing.T, c *Cache) {
	t.Helper()
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		entries, bytes, byShelf := 0, int64(0), map[*shelf]shelf{}
		for e := s.ring.older; e != &s.ring; e = e.older {
			if e.older.newer != e || e.newer.older != e || s.bySum[e.sum] != e {
				t.Fatal("the list is torn")
			}
			sum := byShelf[e.shelf]
			byShelf[e.shelf] = shelf{answers: sum.answers + 1, bytes: sum.bytes + e.size}
			entries, bytes = entries+1, bytes+e.size
		}
		if entries != len(s.bySum) || bytes != s.bytes || bytes > s.limit {
			t.Errorf("shard %d: %d in the list, %d in the table; %d bytes, counted %d, of %d", i, entries, len(s.bySum), bytes, s.bytes, s.limit)
		}
		for id, p := range s.shelves {
			if p.answers != byShelf[p].answers || p.bytes != byShelf[p].bytes {
				t.Errorf("shard %d: %s has %+v, counted %+v", i, id, byShelf[p], *p)
			}
			delete(byShelf, p)
		}
		if len(byShelf) > 0 {
			t.Errorf("shard %d keeps answers of no provider", i)
		}
		s.mu.Unlock()
	}
}

// The cache against a list that is sorted by use: it is there exactly if the list has it.
func TestThoseNotAskedForLongestGoFirst(t *testing.T) {
	const seed, room = 2, 20
	rng := rand.New(rand.NewPCG(seed, 0))
	body := make([]byte, 64) // as allocators have it: no rounding
	size := int64(overhead + len(body))
	c := New(Config{MaxBytes: room*size + size/2, MaxAnswer: room * size})
	if len(c.shards) != 1 {
		t.Fatal("more than one list")
	}
	type kept struct {
		n     int
		until time.Time
	}
	var list []kept // the newest last
	now, hits, evicted, expired := noon, 0, 0, 0
	for step := range 50_000 {
		now = now.Add(time.Duration(rng.IntN(5)) * time.Second)
		n := min(rng.IntN(40), rng.IntN(40)) // some are asked for more
		i := slices.IndexFunc(list, func(k kept) bool { return k.n == n })
		if i >= 0 && !now.Before(list[i].until) {
			list = slices.Delete(list, i, i+1)
			i = -1
			expired++
		}
		a, miss := c.Get(ask("ollama", n), now)
		if (a != nil) != (i >= 0) {
			t.Fatalf("seed %d, step %d: %d is there %v, want %v", seed, step, n, a != nil, i >= 0)
		}
		if a != nil {
			hits++
			used := list[i]
			list = append(slices.Delete(list, i, i+1), used)
			continue
		}
		life := time.Duration(1+rng.IntN(200)) * time.Second
		if !c.Put(miss, Answer{Body: body}, life, now) {
			t.Fatal("not kept")
		}
		if len(list) == room {
			list = list[1:]
			evicted++
		}
		list = append(list, kept{n, now.Add(life)})
	}
	if hits < 1000 || evicted < 1000 || expired < 1000 {
		t.Errorf("%d hits, %d gone for room, %d for time: too few to say anything", hits, evicted, expired)
	}
	audit(t, c)
}

func TestTheBoundHoldsUnderConcurrentUse(t *testing.T) {
	const limit, workers, steps = 200_000, 8, 3000
	c := New(Config{MaxBytes: limit, MaxAnswer: 5000})
	if len(c.shards) < 4 {
		t.Fatalf("%d shards: too few to meet in", len(c.shards))
	}
	providers := []string{"a", "b", "c"}
	var hits, kept atomic.Uint64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(w)))
			for range steps {
				id, n := providers[rng.IntN(3)], min(rng.IntN(200), rng.IntN(200))
				now := noon.Add(time.Duration(rng.IntN(int(ttl))))
				switch rng.IntN(200) {
				case 0:
					c.Clear(id)
				case 1:
					c.Clear()
				case 2:
					sum := uint64(0)
					for _, s := range c.Status(now, func(gone string) bool { return gone == id && n < 50 }) {
						sum += s.Bytes
					}
					if sum > limit {
						t.Errorf("%d bytes, the limit is %d", sum, limit)
					}
				default:
					want := id + strconv.Itoa(n)
					a, miss := c.Get(ask(id, n), now)
					switch {
					case a == nil:
						body := make([]byte, rng.IntN(5000-20))
						if c.Put(miss, Answer{ContentType: want, Body: body}, ttl, now) {
							kept.Add(1)
						}
					case a.ContentType != want:
						t.Errorf("%s has the answer of %s", want, a.ContentType)
					default:
						hits.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
	audit(t, c)
	if hits.Load() < 1000 || kept.Load() < 1000 {
		t.Errorf("%d hits and %d kept: too few to say anything", hits.Load(), kept.Load())
	}
}

// Once a Clear is done, nobody gets what an upstream was asked for before it.
func TestNoAnswerSurvivesAClearThatCameMeanwhile(t *testing.T) {
	c := New(Config{})
	const clears, askers, questions = 2000, 4, 30
	var said, done atomic.Int64 // what upstreams say now; what they have said at least since the last Clear
	var refused atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range askers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(4, uint64(w)))
			for {
				select {
				case <-stop:
					return
				default:
				}
				k := ask("ollama", rng.IntN(questions))
				least := done.Load()
				a, miss := c.Get(k, noon)
				if a != nil {
					if got, _ := strconv.ParseInt(string(a.Body), 10, 64); got < least {
						t.Errorf("got what was said at %d, after a clear at %d", got, least)
						return
					}
					continue
				}
				text := fmt.Append(nil, said.Load())
				runtime.Gosched() // upstreams take their time
				if !c.Put(miss, Answer{Body: text}, ttl, noon) {
					refused.Add(1)
				}
			}
		})
	}
	for n := int64(1); n <= clears || refused.Load() == 0 && n < 100*clears; n++ {
		said.Store(n)
		c.Clear("ollama")
		done.Store(n)
		runtime.Gosched()
	}
	close(stop)
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("no Clear came while an upstream was asked")
	}
	audit(t, c)
}

// What is said to be kept is what the process pays for it.
func TestTheBoundIsOfMemory(t *testing.T) {
	for _, size := range []int{1, 100, 5000} {
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		const limit = 16 << 20
		before := heap()
		c := New(Config{MaxBytes: limit, MaxAnswer: 1 << 18})
		body := make([]byte, size)
		for n := range 3 * limit / (overhead + size) {
			keep(t, c, ask("ollama", n), Answer{ContentType: "application/json", Body: body})
		}
		took := int64(heap()-before) - 1<<18 // what else goes on
		s := c.Status(noon, never)[0]
		t.Logf("answers of %d bytes: %d take %d bytes, counted %d", size, s.Answers, took, s.Bytes)
		if s.Bytes < limit*9/10 || s.Bytes > limit || took > limit {
			t.Errorf("answers of %d bytes: %d take %d bytes, counted %d, the limit is %d", size, s.Answers, took, s.Bytes, limit)
		}
		runtime.KeepAlive(c)
	}
}

func BenchmarkGetHit(b *testing.B) {
	c := New(Config{})
	keys := make([]Key, 64)
	for i := range keys {
		keys[i] = ask("ollama", i)
		_, miss := c.Get(keys[i], noon)
		c.Put(miss, Answer{Body: make([]byte, 1000)}, ttl, noon)
	}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if a, _ := c.Get(keys[i%len(keys)], noon); a == nil {
				b.Fatal("a miss")
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if a, _ := c.Get(keys[i%len(keys)], noon); a == nil {
					b.Error("a miss")
				}
			}
		})
	})
}
