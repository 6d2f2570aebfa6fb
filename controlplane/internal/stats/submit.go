package stats

import (
	"context"
	"time"
)

// Ack answers a batch. With ResendFrom set, batches are missing before it and it had no effect.
type Ack struct {
	Epoch      uint64
	Committed  uint64 // all batches of the epoch up to this one are committed
	ResendFrom uint64
}

// Receipt is what Submit answers at once. Dropping one costs nothing.
type Receipt struct {
	collector  *Collector
	stream     stream
	resendFrom uint64
	tick       *openTick // that the batch waits for; nil: for none
}

// Submit takes a batch. It waits for no disk; the receipt does, and nothing is to be acknowledged before it has.
// Batches of one node may come on several goroutines and in any order.
func (c *Collector) Submit(b Batch) Receipt {
	now := c.now()
	keys, tokens := c.known(b)
	receipt, merged := c.merge(now, b, keys, tokens)
	if merged {
		c.onMerged(now, b)
	}
	return receipt
}

// known asks which of the batch's keys and tokens exist, outside of the lock.
func (c *Collector) known(b Batch) (keys, tokens []bool) {
	keys, tokens = make([]bool, len(b.Keys)), make([]bool, len(b.Tokens))
	for i, d := range b.Keys {
		keys[i] = c.keyKnown(d.Key)
	}
	for i, d := range b.Tokens {
		tokens[i] = c.tokenKnown(d.Token)
	}
	return keys, tokens
}

// merge adds the batch to the open tick if it is the next of its stream, and says whether it did.
func (c *Collector) merge(now time.Time, b Batch, keys, tokens []bool) (Receipt, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Receipt{collector: c, stream: stream{b.Node, b.Epoch}}
	last, tick := c.lastLocked(r.stream, b.Seq)
	switch {
	case b.Seq <= last:
		r.tick = tick
		return r, false
	case b.Seq > last+1:
		r.resendFrom = last + 1
		return r, false
	}
	r.tick = c.open
	if c.stopped {
		return r, false
	}
	c.open.cursors[r.stream] = b.Seq
	at := b.SealedAt
	if at.IsZero() || at.After(now) {
		at = now
	}
	m := merger{tick: c.open, names: c.names, at: at, hour: hourOf(at), fresh: hourOf(at) >= oldestHour(now)}
	for i, d := range b.Keys {
		m.key(d, keys[i])
	}
	for i, d := range b.Tokens {
		m.token(d, tokens[i])
	}
	return r, true
}

// lastLocked answers the last merged batch of a stream, and which tick the batch seq, if it is at or before it, waits for.
func (c *Collector) lastLocked(s stream, seq uint64) (uint64, *openTick) {
	last := c.cursors[s].Seq
	var tick *openTick
	for _, t := range []*openTick{c.flight, c.open} {
		if t == nil {
			continue
		}
		if n, found := t.cursors[s]; found {
			if last < seq && seq <= n {
				tick = t
			}
			last = n
		}
	}
	return last, tick
}

// Wait waits until the batch is committed, and answers what to tell the node.
func (r Receipt) Wait(ctx context.Context) (Ack, error) {
	if r.tick != nil {
		select {
		case <-r.tick.done:
		case <-ctx.Done():
			return Ack{}, ctx.Err()
		}
		if r.tick.err != nil {
			return Ack{}, r.tick.err
		}
	}
	return Ack{
		Epoch:      r.stream.epoch,
		Committed:  r.collector.LastSeq(r.stream.node, r.stream.epoch),
		ResendFrom: r.resendFrom,
	}, nil
}
