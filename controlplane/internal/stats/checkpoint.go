package stats

import (
	"fmt"
	"maps"
	"slices"

	"ollama-api-pool/controlplane/internal/pool"
)

// checkpoint is one under way. First all rows that changed are written, then the log is folded, and only then rows are
// deleted: a deleted row can so never come back from the log.
type checkpoint struct {
	rows   []RowKey // still to be written, ascending, as the store likes it
	fold   uint64   // the rows include everything up to this tick
	folded bool     // it is written
	old    []Cursor // to be dropped
	drops  []RowKey
	ranges [][2]RowKey // hours that are over
}

// startCheckpoint sees what there is to do. A checkpoint that is still under way goes on instead.
func (c *Collector) startCheckpoint() {
	if c.work != nil {
		return
	}
	now := c.now()
	oldest := oldestHour(now)
	w := &checkpoint{fold: c.seq}

	c.mu.Lock()
	c.dropGoneLocked()
	dirty := c.dirty
	c.dirty = map[RowKey]struct{}{}
	w.old = c.oldCursorsLocked(now)
	c.table.expire(oldest)
	c.mu.Unlock()

	w.rows = slices.Sorted(maps.Keys(dirty))
	w.folded = len(w.rows)+len(w.old) == 0 && w.fold == c.folded
	w.drops, c.drops = c.drops, nil
	if oldest > c.expired {
		for _, kind := range []byte{rowKeyHour, rowProviderHour, rowRequestHour} {
			w.ranges = append(w.ranges, [2]RowKey{hourEdge(kind, 0), hourEdge(kind, oldest)})
		}
		c.expired = oldest
	}
	c.work = w
}

// finishCheckpoint takes all steps that are left.
func (c *Collector) finishCheckpoint() error {
	for c.work != nil {
		if err := c.stepCheckpoint(); err != nil {
			return err
		}
	}
	return nil
}

// stepCheckpoint writes one chunk. On a full disk the checkpoint ends, and the next one does what is left.
func (c *Collector) stepCheckpoint() error {
	w := c.work
	var err error
	switch {
	case !w.folded:
		err = c.writeChunk(w)
	case len(w.drops) > 0:
		n := min(len(w.drops), c.chunkRows)
		if err = c.store.Checkpoint(Chunk{AsOf: c.seq, Drop: w.drops[:n]}); err == nil {
			w.drops = w.drops[n:]
		}
	case len(w.ranges) > 0:
		var n int
		n, err = c.store.DropRange(w.ranges[0][0], w.ranges[0][1], c.chunkRows)
		if err == nil && n < c.chunkRows {
			w.ranges = w.ranges[1:]
		}
	default:
		c.work = nil
		return nil
	}
	if c.tellFull(err) {
		c.abandon(w)
		return nil
	}
	if err != nil {
		return fmt.Errorf("checkpoint of counters: %w", err)
	}
	return nil
}

// writeChunk writes the next rows as they are now. Ticks that were committed since the checkpoint began may be in them, and
// in the log beyond what is folded; so each row says what it includes.
func (c *Collector) writeChunk(w *checkpoint) error {
	n := min(len(w.rows), c.chunkRows)
	chunk := Chunk{AsOf: c.seq, Put: make([]Row, 0, n)}
	c.mu.RLock()
	for _, key := range w.rows[:n] {
		if r, found := c.table.read(key); found {
			chunk.Put = append(chunk.Put, r)
		}
	}
	c.mu.RUnlock()
	if n == len(w.rows) {
		chunk.Folds, chunk.Fold, chunk.DropCursors = true, w.fold, w.old
	}
	if err := c.store.Checkpoint(chunk); err != nil {
		return err
	}
	w.rows = w.rows[n:]
	if chunk.Folds {
		w.folded, c.folded = true, w.fold
	}
	return nil
}

// abandon leaves to the next checkpoint what this one could not do. Cursors that are too old wait for the next start.
func (c *Collector) abandon(w *checkpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range w.rows {
		c.dirty[key] = struct{}{}
	}
	c.drops = append(c.drops, w.drops...)
	if len(w.ranges) > 0 {
		c.expired = 0
	}
	c.work = nil
}

// dropGoneLocked takes out all rows of keys and tokens that are gone, those of the ticks that are not committed included.
func (c *Collector) dropGoneLocked() {
	if len(c.goneKeys)+len(c.goneTokens) == 0 {
		return
	}
	keys, tokens := map[pool.KeyID]struct{}{}, map[pool.TokenID]struct{}{}
	for _, id := range c.goneKeys {
		keys[id] = struct{}{}
		if k := c.table.keys[id]; k != nil {
			c.drops = append(c.drops, idRow(rowKey, uint64(id)))
			for h := range k.hours.all() {
				c.drops = append(c.drops, keyHourRow(h.hour, id))
			}
			delete(c.table.keys, id)
		}
	}
	for _, id := range c.goneTokens {
		tokens[id] = struct{}{}
		if c.table.tokens[id] != nil {
			c.drops = append(c.drops, idRow(rowToken, uint64(id)))
			delete(c.table.tokens, id)
		}
	}
	for _, t := range []*openTick{c.open, c.flight} {
		if t == nil {
			continue
		}
		t.forget(func(r row) bool {
			_, key := keys[pool.KeyID(r.id)]
			_, token := tokens[pool.TokenID(r.id)]
			return (key && (r.kind == rowKey || r.kind == rowKeyHour)) || (token && r.kind == rowToken)
		})
	}
	c.goneKeys, c.goneTokens = nil, nil
}
