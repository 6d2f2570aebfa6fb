package stats

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestSubmitDedupes(t *testing.T) {
	f := newFixture(t)
	merged := 0
	f.onMerged = func(time.Time, Batch) { merged++ }
	submit := func(seq uint64) Receipt { return f.Submit(report(seq, noon, keys(1))) }

	f.wants(submit(2), Ack{Epoch: 1, ResendFrom: 1}, "the first batch is missing")
	first := submit(1)
	f.waits(first, "not committed yet")
	f.waits(submit(1), "a duplicate waits for the same commit")
	f.waits(submit(2), "the next one is merged too")
	f.wants(submit(4), Ack{Epoch: 1, ResendFrom: 3}, "the third is missing, though the second is not committed")
	if merged != 2 {
		t.Errorf("got %d batches merged, want 2", merged)
	}
	if got := f.Key(1).Counts.Total(); got != 0 {
		t.Errorf("got %d attempts before the commit, want none", got)
	}
	f.commitNow()
	f.wants(first, Ack{Epoch: 1, Committed: 2}, "acknowledgements are cumulative")
	f.wants(submit(1), Ack{Epoch: 1, Committed: 2}, "a late duplicate is acknowledged at once")
	f.wants(submit(0), Ack{Epoch: 1, Committed: 2}, "there is no batch 0, so nothing happens")
	f.wants(submit(4), Ack{Epoch: 1, Committed: 2, ResendFrom: 3}, "the third is missing")
	if got := f.Key(1).Counts.Total(); got != 2 || merged != 2 {
		t.Errorf("got %d attempts and %d batches, want 2 and 2", got, merged)
	}
	f.waits(submit(3), "merged")
	f.wants(submit(1), Ack{Epoch: 1, Committed: 2}, "a duplicate does not wait for another batch's commit")
	other := report(1, noon, keys(1))
	other.Epoch = 2
	f.waits(f.Submit(other), "another epoch has its own cursor")
}

// While the disk is full, one tick waits for its commit and another one grows; a duplicate waits for the one it is in.
func TestSubmitWhileFull(t *testing.T) {
	f := newFixture(t)
	f.store.before = func() error { return errFull }
	one := f.Submit(report(1, noon, keys(1)))
	f.commitNow()
	two := f.Submit(report(2, noon, keys(1)))
	f.commitNow()
	f.waits(one, "the disk is full")
	f.store.before = nil
	again := f.Submit(report(2, noon, keys(1)))
	f.commitNow()
	f.wants(one, Ack{Epoch: 1, Committed: 1}, "the disk has space again")
	f.waits(two, "it is in the next tick")
	f.waits(again, "so is its duplicate")
	f.commitNow()
	f.wants(two, Ack{Epoch: 1, Committed: 2}, "committed")
	if got := f.Key(1).Counts.Total(); got != 2 {
		t.Errorf("got %d attempts, want 2", got)
	}
	f.reopen()
	if got := f.Key(1).Counts.Total(); got != 2 {
		t.Errorf("got %d attempts after a restart, want 2", got)
	}
}

func TestSubmitAfterStop(t *testing.T) {
	f := newFixture(t)
	pending := f.Submit(report(1, noon, keys(1)))
	f.stop()
	for _, r := range []Receipt{pending, f.Submit(report(1, noon, keys(1))), f.Submit(report(2, noon, keys(1)))} {
		if _, err := r.Wait(t.Context()); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
	}
}

func (f *fixture) wants(r Receipt, want Ack, why string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	if got, err := r.Wait(ctx); err != nil || got != want {
		f.t.Errorf("%s: got %+v, %v, want %+v", why, got, err, want)
	}
}

func (f *fixture) waits(r Receipt, why string) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	cancel()
	select {
	case <-settled(r):
		f.t.Errorf("%s: got an answer, want none yet", why)
	default:
	}
	if _, err := r.Wait(ctx); !errors.Is(err, context.Canceled) {
		f.t.Errorf("%s: got %v, want context.Canceled", why, err)
	}
}
