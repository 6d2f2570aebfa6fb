package store

import (
	"path/filepath"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

// manyKeys has each of a hundred thousand keys used once, in ticks of a thousand, and one checkpoint.
func manyKeys(b *testing.B, path string) {
	b.Helper()
	s, err := OpenStats(path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for chunk := range 10 {
		var put []stats.Row
		for k := range 10_000 {
			key := stats.RowKey("k") + stats.RowKey(number(uint64(chunk*10_000+k)))
			put = append(put, stats.Row{Key: key, Counts: []uint64{300, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 40_000}, Used: 1.8e9})
		}
		if err := s.Checkpoint(stats.Chunk{AsOf: 1, Put: put}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchFile(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "stats.db")
	if err := CreateStats(path); err != nil {
		b.Fatal(err)
	}
	manyKeys(b, path)
	return path
}

// BenchmarkStatsLoad is the start of a control plane with a hundred thousand used keys.
func BenchmarkStatsLoad(b *testing.B) {
	path := benchFile(b)
	for b.Loop() {
		s, err := OpenStats(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := stats.New(s, time.Now); err != nil {
			b.Fatal(err)
		}
		_ = s.Close()
	}
}

// BenchmarkStatsTick is the commit of a tick of a thousand rows, the disk's sync included.
func BenchmarkStatsTick(b *testing.B) {
	s, err := OpenStats(benchFile(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	tick := stats.Tick{Seq: 1, Cursors: []stats.Cursor{{Node: "n", Epoch: 1, Seq: 1}}, Health: []pool.Health{{Key: 1, Strikes: 1}}}
	for k := range 1000 {
		tick.Rows = append(tick.Rows, stats.Row{Key: stats.RowKey("k") + stats.RowKey(number(uint64(k*97))), Counts: []uint64{1}})
	}
	b.ReportAllocs()
	for b.Loop() {
		tick.Seq++
		if err := s.CommitTick(tick); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatsChunk is the longest transaction of a checkpoint: ten thousand rows all over the file.
func BenchmarkStatsChunk(b *testing.B) {
	s, err := OpenStats(benchFile(b))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var put []stats.Row
	for k := range 10_000 {
		put = append(put, stats.Row{Key: stats.RowKey("k") + stats.RowKey(number(uint64(k*10))), Counts: []uint64{300, 0, 2}})
	}
	for b.Loop() {
		if err := s.Checkpoint(stats.Chunk{AsOf: 1, Put: put}); err != nil {
			b.Fatal(err)
		}
	}
}
