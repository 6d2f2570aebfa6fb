package stats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// Run commits ticks and writes checkpoints until ctx ends, and then once more. It ends early with an error when a commit
// failed and what is on disk is unknown: the process must exit, for a failed sync cannot be tried again.
func (c *Collector) Run(ctx context.Context) error {
	defer c.stop()
	c.forgetUnknown()
	tick, check := time.NewTicker(c.tickEvery), time.NewTicker(c.checkpointEvery)
	defer tick.Stop()
	defer check.Stop()
	always := make(chan time.Time)
	close(always)
	for {
		var busy <-chan time.Time // between the chunks of a checkpoint, ticks have their turn
		if c.work != nil {
			busy = always
		}
		var err error
		select {
		case <-ctx.Done():
			return c.finish()
		case <-tick.C:
			_, err = c.commit()
		case <-c.budgets.SaveBudgets():
			_, err = c.commit()
		case <-check.C:
			c.startCheckpoint()
		case <-busy:
			err = c.stepCheckpoint()
		}
		if err != nil {
			return err
		}
	}
}

// finish leaves nothing in memory that is not on disk.
func (c *Collector) finish() error {
	for range 2 { // the first may only make up for one that found the disk full
		done, err := c.commit()
		if err != nil {
			return err
		}
		if !done {
			return fmt.Errorf("last tick: %w", ErrNoSpace) // not acknowledged, so not lost
		}
	}
	if err := c.finishCheckpoint(); err != nil {
		return err
	}
	c.startCheckpoint()
	return c.finishCheckpoint()
}

// stop tells everybody who waits that it is in vain.
func (c *Collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.flight != nil {
		c.flight.settle(ErrStopped)
	}
	c.open.settle(ErrStopped)
}

// commit writes one tick, if there is anything to write. On a full disk it is not done: everything is kept for the next call.
func (c *Collector) commit() (done bool, err error) {
	polled := c.unsaved()
	flight, gone := c.takeOff()
	t := Tick{Seq: c.seq, Events: c.events(), DropEvents: gone, Budgets: c.budgets.UnsavedBudgets()}
	t.Health, t.DropHealth = c.sortHealth(polled, gone)
	if flight != nil {
		t.Rows, t.Cursors = flight.record(c.now())
		if len(t.Rows) > 0 {
			t.Seq++
		}
	}
	if len(t.Cursors)+len(t.Health)+len(t.DropHealth)+len(t.Events)+len(t.DropEvents)+len(t.Budgets) > 0 {
		err := c.store.CommitTick(t)
		if c.tellFull(err) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("commit counters: %w", err)
		}
	}
	if err := c.land(t, len(gone)); err != nil {
		return false, err
	}
	if flight != nil {
		flight.settle(nil)
	}
	if len(polled) > 0 {
		c.saved(polled)
	}
	if len(t.Budgets) > 0 {
		c.budgets.BudgetsSaved(t.Budgets)
	}
	return true, nil
}

// takeOff closes the open tick for commit, unless the former one is still to be committed.
func (c *Collector) takeOff() (*openTick, []pool.KeyID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight == nil && len(c.open.cursors) > 0 {
		c.flight, c.open = c.open, newOpenTick()
	}
	return c.flight, c.goneNow
}

// land makes a committed tick visible.
func (c *Collector) land(t Tick, gone int) error {
	for _, h := range t.Health {
		c.held[h.Key] = struct{}{}
	}
	for _, id := range t.DropHealth {
		delete(c.held, id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range t.Rows {
		if err := c.table.add(r); err != nil {
			return err
		}
		c.dirty[r.Key] = struct{}{}
	}
	for _, cur := range t.Cursors {
		c.cursors[stream{cur.Node, cur.Epoch}] = cur
	}
	c.seq, c.flight, c.goneNow = t.Seq, nil, c.goneNow[gone:]
	return nil
}

// sortHealth answers which rows of health to write and which to delete. Rows that are not there need no deleting.
func (c *Collector) sortHealth(polled []pool.Health, gone []pool.KeyID) (put []pool.Health, drop []pool.KeyID) {
	for _, h := range polled {
		if !blank(h) {
			put = append(put, h)
		} else if _, held := c.held[h.Key]; held {
			drop = append(drop, h.Key)
		}
	}
	for _, id := range gone {
		if _, held := c.held[id]; held {
			drop = append(drop, id)
		}
	}
	return put, drop
}

func blank(h pool.Health) bool {
	return h.Phase == pool.Healthy && h.Reason == pool.NoReason && h.Until.IsZero() && h.Strikes == 0 && h.Ejections == 0
}

// tellFull says whether the store failed for want of space, and logs when that begins and ends.
func (c *Collector) tellFull(err error) bool {
	full := errors.Is(err, ErrNoSpace)
	switch {
	case full && !c.full:
		c.log.Error("disk full: counters are kept in memory and not acknowledged", "error", err)
	case err == nil && c.full:
		c.log.Info("disk has space again: counters are committed")
	}
	c.full = full
	return full
}
