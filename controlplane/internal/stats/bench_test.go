package stats

import (
	"runtime"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const many = 100_000

// fill has each of so many keys used in each of the last hours.
func fill(tb testing.TB, keys, hours int) *Collector {
	tb.Helper()
	now := noon
	store := &nullStore{}
	c, err := New(store, func() time.Time { return now }, Log(quiet))
	if err != nil {
		tb.Fatal(err)
	}
	for h := range hours {
		now = noon.Add(time.Duration(h) * time.Hour)
		for i := range keys / 1000 {
			b := Batch{Node: "n", Epoch: 1, Seq: uint64(h*keys/1000 + i + 1), SealedAt: now}
			for k := range 1000 {
				d := KeyDelta{Key: pool.KeyID(i*1000 + k + 1), Provider: "p"}
				d.Counts[AttemptOK], d.Counts[AttemptServerError], d.Counts[AttemptFirstByteMsSum] = 300, 5, 40_000
				b.Keys = append(b.Keys, d)
			}
			c.Submit(b)
		}
		if _, err := c.commit(); err != nil {
			tb.Fatal(err)
		}
		c.startCheckpoint()
		if err := c.finishCheckpoint(); err != nil {
			tb.Fatal(err)
		}
	}
	return c
}

// nullStore keeps nothing.
type nullStore struct{}

func (*nullStore) LoadStats(func(Row) error) (Loaded, error)  { return Loaded{}, nil }
func (*nullStore) CommitTick(Tick) error                      { return nil }
func (*nullStore) Checkpoint(Chunk) error                     { return nil }
func (*nullStore) KeyEvents(pool.KeyID) ([]pool.Event, error) { return nil, nil }
func (*nullStore) DropRange(RowKey, RowKey, int) (int, error) { return 0, nil }

// TestMemory keeps keys cheap: used for one hour, and in every hour of two days and more.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		keys, hours, limit int // bytes per key
	}{{10_000, 1, 300}, {1_000, 60, 800}} {
		if got := bytesPerKey(t, c.keys, c.hours); got > c.limit {
			t.Errorf("got %d bytes per key used in %d hours, want at most %d", got, c.hours, c.limit)
		}
	}
}

// BenchmarkMemory reports what a hundred thousand keys take that were used in one hour.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(bytesPerKey(b, many, 1)), "B/key")
	}
}

func bytesPerKey(tb testing.TB, keys, hours int) int {
	tb.Helper()
	before := heap()
	collector := fill(tb, keys, hours)
	got := (heap() - before) / keys
	runtime.KeepAlive(collector)
	return got
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// BenchmarkSubmit is one node's report of a busy second, into a tick that has such rows already.
func BenchmarkSubmit(b *testing.B) {
	c := fill(b, many, 1)
	batch := Batch{Node: "m", Epoch: 1, SealedAt: noon}
	for k := range 100 {
		batch.Keys = append(batch.Keys, KeyDelta{Key: pool.KeyID(k + 1), Provider: "p", Model: "m", Counts: AttemptCounts{1}})
		batch.Tokens = append(batch.Tokens, TokenDelta{Token: pool.TokenID(k + 1), Provider: "p", Model: "m", Counts: RequestCounts{1}})
	}
	b.ReportAllocs()
	for b.Loop() {
		batch.Seq++
		c.Submit(batch)
	}
}

// BenchmarkTick is the commit of a tick in which every tenth of a hundred thousand keys was used, the disk aside.
func BenchmarkTick(b *testing.B) {
	c := fill(b, many, 24)
	batch := Batch{Node: "m", Epoch: 1, SealedAt: noon.Add(23 * time.Hour)}
	for k := range many / 10 {
		batch.Keys = append(batch.Keys, KeyDelta{Key: pool.KeyID(k*10 + 1), Provider: "p", Model: "m", Counts: AttemptCounts{1}})
	}
	b.ReportAllocs()
	for b.Loop() {
		batch.Seq++
		c.Submit(batch)
		if _, err := c.commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKey is one line of the console's table of keys.
func BenchmarkKey(b *testing.B) {
	c := fill(b, many, 48)
	b.ReportAllocs()
	for b.Loop() {
		c.Key(77)
		c.KeyHours(77, noon.Add(47*time.Hour))
	}
}
