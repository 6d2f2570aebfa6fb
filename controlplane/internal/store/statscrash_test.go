package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

var errDied = errors.New("the process died")

// mortal is a store whose process dies at one of its writes: before it, or after it and before anybody is told.
type mortal struct {
	*Stats
	ticks, chunks int  // that are still survived
	after         bool // the last one is written
}

func (m *mortal) CommitTick(t stats.Tick) error {
	return m.live(&m.ticks, func() error { return m.Stats.CommitTick(t) })
}

func (m *mortal) Checkpoint(c stats.Chunk) error {
	return m.live(&m.chunks, func() error { return m.Stats.Checkpoint(c) })
}

func (m *mortal) live(left *int, write func() error) error {
	if *left--; *left >= 0 {
		return write()
	}
	if m.after {
		return errors.Join(write(), errDied)
	}
	return errDied
}

// statsLife is one process: it reads the file, takes batches from a few nodes, commits, checkpoints, and dies.
type statsLife struct {
	m         *mortal
	c         *stats.Collector
	end       chan error
	cancel    context.CancelFunc
	committed map[pool.NodeID]uint64 // as acknowledged
}

func beginStatsLife(t *testing.T, path string, m *mortal) *statsLife {
	t.Helper()
	m.Stats = openStatsFile(t, path)
	c, err := stats.New(m, time.Now, stats.ChunkRows(3), stats.CheckpointEvery(time.Second),
		stats.Log(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &statsLife{m: m, c: c, end: make(chan error, 1), cancel: cancel, committed: map[pool.NodeID]uint64{}}
	go func() { l.end <- c.Run(ctx) }()
	return l
}

// send has a node report its next batches, some of them twice or in the wrong order, and waits for what it is told.
func (l *statsLife) send(rng *rand.Rand, node pool.NodeID, n int) {
	var receipts []stats.Receipt
	next := l.c.LastSeq(node, 1) + 1
	for i := range uint64(n) {
		seq := next + i
		if rng.IntN(4) == 0 {
			seq += rng.Uint64N(3)
		}
		for range 1 + rng.IntN(2) {
			receipts = append(receipts, l.c.Submit(ledgerBatch(node, seq, time.Now())))
		}
	}
	for _, r := range receipts {
		if ack, err := r.Wait(context.Background()); err == nil {
			l.committed[node] = max(l.committed[node], ack.Committed)
		}
	}
}

// close ends the process, if it has not died, and answers whether it had.
func (l *statsLife) close(t *testing.T) (died bool) {
	t.Helper()
	l.cancel()
	err := <-l.end
	if err != nil && !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	if err := l.m.Close(); err != nil {
		t.Fatal(err)
	}
	return err != nil
}

// TestStatsCrash dies at each point between a batch's arrival and the end of the checkpoint that folds it.
func TestStatsCrash(t *testing.T) {
	t.Parallel()
	points := map[string]mortal{
		"before the commit":                {ticks: 2, chunks: 1 << 20},
		"after the commit, before acks":    {ticks: 2, chunks: 1 << 20, after: true},
		"before the checkpoint":            {ticks: 1 << 20, chunks: 0},
		"between chunks of a checkpoint":   {ticks: 1 << 20, chunks: 2},
		"between chunks of the second":     {ticks: 1 << 20, chunks: 12},
		"after a chunk, nobody being told": {ticks: 1 << 20, chunks: 4, after: true},
	}
	for name, m := range points {
		t.Run(name, func(t *testing.T) {
			path := newStatsFile(t)
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				committed, deaths := map[pool.NodeID]uint64{}, 0
				for range 4 { // every process dies at the same point
					mine := m
					l := beginStatsLife(t, path, &mine)
					for range 12 {
						for _, node := range ledgerNodes {
							l.send(rng, node, 3)
						}
					}
					if l.close(t) {
						deaths++
					}
					kept := checkStatsFile(t, path)
					for node, seq := range l.committed {
						committed[node] = max(committed[node], seq)
					}
					for node, seq := range committed {
						if kept[node] < seq {
							t.Fatalf("%s: got %d kept, but %d was acknowledged", node, kept[node], seq)
						}
					}
				}
				if deaths != 4 {
					t.Errorf("got %d deaths in 4 lives", deaths)
				}
			})
		})
	}
}

// TestStatsStories are random lives on one file: every death, and in the end every count.
func TestStatsStories(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(60) {
			rng := rand.New(rand.NewPCG(seed, 3))
			l := beginStatsLife(t, path, &mortal{ticks: rng.IntN(15), chunks: rng.IntN(20), after: rng.IntN(2) == 0})
			for range rng.IntN(10) {
				l.send(rng, ledgerNodes[rng.IntN(len(ledgerNodes))], rng.IntN(5))
				time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
			}
			l.close(t)
			kept := checkStatsFile(t, path)
			for node, seq := range l.committed {
				if kept[node] < seq {
					t.Fatalf("story %d: %s: got %d kept, but %d was acknowledged", seed, node, kept[node], seq)
				}
			}
		}
		var all uint64
		for _, seq := range checkStatsFile(t, path) {
			all += seq
		}
		if all < 100 {
			t.Errorf("got %d batches over all stories: they tell too little", all)
		}
		t.Log(fmt.Sprint(all, " batches counted"))
	})
}
