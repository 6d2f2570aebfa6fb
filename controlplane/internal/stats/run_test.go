package stats

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// runIn starts a collector in the bubble. The returned function ends it and answers Run's error.
func runIn(t *testing.T, store Store, opts ...Option) (*Collector, func() error) {
	t.Helper()
	c, err := New(store, time.Now, append([]Option{Log(quiet)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() error { cancel(); return <-done }
}

func TestRunTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c, stop := runIn(t, store)
		time.Sleep(time.Minute)
		synctest.Wait()
		if store.writes > 3 { // the first checkpoint looks for hours that are over
			t.Errorf("got %d writes with nothing to write", store.writes)
		}
		start := time.Now()
		ack, err := c.Submit(report(1, start, keys(1))).Wait(t.Context())
		if err != nil || ack.Committed != 1 || time.Since(start) > 200*time.Millisecond {
			t.Errorf("got %v, %v after %v, want batch 1 within 200 ms", ack, err, time.Since(start))
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if len(store.log) != 0 || len(store.totals) == 0 {
			t.Errorf("got %d ticks in the log and %d rows after a checkpoint", len(store.log), len(store.totals))
		}
		last := c.Submit(report(2, time.Now(), keys(1)))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if ack, err := last.Wait(t.Context()); err != nil || ack.Committed != 2 {
			t.Errorf("got %v, %v, want the last tick committed on the way out", ack, err)
		}
		if len(store.log) != 0 {
			t.Errorf("got %d ticks in the log after the last checkpoint", len(store.log))
		}
	})
}

func TestRunEndsWhenTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("input/output error")
		store := newMemStore()
		store.before = func() error { return broken }
		c, stop := runIn(t, store)
		if _, err := c.Submit(report(1, time.Now(), keys(1))).Wait(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
		if err := stop(); !errors.Is(err, broken) {
			t.Errorf("got %v from Run, want %v", err, broken)
		}
		if store.writes != 0 {
			t.Errorf("got %d writes after a failed one, want none", store.writes)
		}
	})
}

func TestRunOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		var full atomic.Bool
		full.Store(true)
		store.before = func() error {
			if full.Load() {
				return errFull
			}
			return nil
		}
		c, stop := runIn(t, store)
		var receipts []Receipt
		for seq := range uint64(100) { // over several checkpoints
			receipts = append(receipts, c.Submit(report(seq+1, time.Now(), keys(1), 1)))
			time.Sleep(time.Second)
		}
		if got := c.LastSeq("n", 1); got != 0 {
			t.Errorf("got %d committed on a full disk", got)
		}
		full.Store(false)
		for i, r := range receipts {
			if ack, err := r.Wait(t.Context()); err != nil || ack.Committed <= uint64(i) {
				t.Fatalf("batch %d: got %v, %v", i+1, ack, err)
			}
		}
		full.Store(true)
		lost := c.Submit(report(101, time.Now(), keys(1)))
		if err := stop(); !errors.Is(err, ErrNoSpace) {
			t.Errorf("got %v from Run, want ErrNoSpace", err)
		}
		if _, err := lost.Wait(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
		full.Store(false)
		c, stop = runIn(t, store)
		if got := c.Key(1).Counts.Total(); got != 100 {
			t.Errorf("got %d attempts, want 100", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A checkpoint of many chunks, each of which takes long, holds up neither ticks nor readers nor batches.
func TestSlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		store.before = func() error { time.Sleep(50 * time.Millisecond); return nil }
		c, stop := runIn(t, store, ChunkRows(1), CheckpointEvery(time.Second))
		for seq := range uint64(200) {
			start := time.Now()
			r := c.Submit(report(seq+1, start, keys(1, 2, 3, 4, 5, 6, 7, 8, 9), 1, 2, 3))
			c.Key(1)
			if d := time.Since(start); d != 0 {
				t.Fatalf("batch %d: waited %v for the disk", seq+1, d)
			}
			if _, err := r.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > time.Second {
				t.Fatalf("batch %d: committed after %v", seq+1, d)
			}
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if got := c.Key(9).Counts.Total(); got != 200 {
			t.Errorf("got %d attempts, want 200", got)
		}
	})
}
