package stats

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// load fills the collector; nobody else has it yet.
func (c *Collector) load() error {
	oldest := oldestHour(c.now())
	kept, err := c.store.LoadStats(func(r Row) error { return c.loadRow(r, oldest) })
	if err != nil {
		return fmt.Errorf("load counters: %w", err)
	}
	c.seq, c.folded = kept.Seq, kept.Folded
	for _, cur := range kept.Cursors {
		c.cursors[stream{cur.Node, cur.Epoch}] = cur
	}
	c.loaded, c.told, c.given = kept.Health, kept.Told, kept.Budgets
	for _, h := range kept.Health {
		c.held[h.Key] = struct{}{}
	}
	for p := range c.table.providers {
		c.names.provider(p)
	}
	for m := range c.table.models {
		c.names.model(m.provider, m.model)
	}
	return nil
}

// loadRow leaves out hours that are over; the first checkpoint deletes them.
func (c *Collector) loadRow(r Row, oldest uint32) error {
	k, err := r.Key.parse()
	if err != nil {
		return err
	}
	if k.isHour() && k.hour < oldest {
		return nil
	}
	if r.Pending {
		c.dirty[r.Key] = struct{}{}
	}
	return c.table.add(r)
}

// forgetUnknown drops rows of keys and tokens whose deletion a former process did not live to be told of.
func (c *Collector) forgetUnknown() {
	c.mu.RLock()
	keys, tokens := slices.Collect(maps.Keys(c.table.keys)), slices.Collect(maps.Keys(c.table.tokens))
	c.mu.RUnlock()
	keys = append(slices.AppendSeq(keys, maps.Keys(c.held)), c.told...)
	c.told = nil
	keys = slices.DeleteFunc(keys, c.keyKnown)
	tokens = slices.DeleteFunc(tokens, c.tokenKnown)
	c.Forget(keys, tokens)
}

// Health answers the health of keys as it was at New.
func (c *Collector) Health() []pool.Health { return c.loaded }

// Given answers what was given out of budgets, as it was at New.
func (c *Collector) Given() []pool.Budget { return c.given }

// LastSeq answers the last committed batch of a node's epoch.
func (c *Collector) LastSeq(node pool.NodeID, epoch uint64) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.cursors[stream{node, epoch}].Seq
}

// cursorAge is how long a cursor outlives its last batch: longer than any journal of a node is played back.
const cursorAge = 7 * 24 * time.Hour

// oldCursorsLocked takes out the cursors that are too old, but for each node's newest.
func (c *Collector) oldCursorsLocked(now time.Time) []Cursor {
	newest := map[pool.NodeID]uint64{}
	for s := range c.cursors {
		newest[s.node] = max(newest[s.node], s.epoch)
	}
	var old []Cursor
	for s, cur := range c.cursors {
		if now.Sub(cur.CommitTime) > cursorAge && s.epoch != newest[s.node] && !c.pendingLocked(s) {
			old = append(old, cur)
			delete(c.cursors, s)
		}
	}
	return old
}

// pendingLocked says whether batches of a stream wait for their commit.
func (c *Collector) pendingLocked(s stream) bool {
	if _, open := c.open.cursors[s]; open {
		return true
	}
	if c.flight == nil {
		return false
	}
	_, flying := c.flight.cursors[s]
	return flying
}
