package stats

import (
	"maps"
	"time"
)

// openTick is what batches have added since the last commit. The collector's lock guards rows and cursors.
type openTick struct {
	rows    map[RowKey]*delta
	cursors map[stream]uint64 // last merged batch

	done chan struct{} // closed once it is settled
	err  error         // why it will never be committed; set before done is closed
}

// delta is one row of a tick.
type delta struct {
	counts [attemptLen]uint64 // the longest row's
	last   lastTimes
}

func newOpenTick() *openTick {
	return &openTick{rows: map[RowKey]*delta{}, cursors: map[stream]uint64{}, done: make(chan struct{})}
}

func (t *openTick) settle(err error) {
	t.err = err
	close(t.done)
}

// merger adds one batch to a tick.
type merger struct {
	tick  *openTick
	names names
	at    time.Time // when the batch was sealed
	hour  uint32
	fresh bool // the hour is still kept
}

// key adds what a key met. A key that is not known (any more) has no rows of its own, but counts for its provider.
func (m merger) key(d KeyDelta, known bool) {
	if d.Counts == (AttemptCounts{}) {
		return
	}
	provider := m.names.provider(d.Provider)
	m.add(providerRow(rowProvider, provider), d.Counts[:])
	if m.fresh {
		m.add(providerHourRow(rowProviderHour, m.hour, provider), d.Counts[:])
	}
	if !known {
		return
	}
	total, success, failure := d.Counts.Total(), d.Counts.Success(), d.Counts.Failure()
	m.add(idRow(rowKey, uint64(d.Key)), d.Counts[:]).last.see(m.at, total, success, failure)
	if m.fresh && total > 0 {
		m.add(keyHourRow(m.hour, d.Key), []uint64{total, success, failure})
	}
}

// token adds what the clients with a token saw.
func (m merger) token(d TokenDelta, known bool) {
	if d.Counts == (RequestCounts{}) {
		return
	}
	provider := m.names.provider(d.Provider)
	m.add(providerRow(rowProviderRequests, provider), d.Counts[:])
	m.add(modelRow(m.names.model(provider, d.Model)), d.Counts[:])
	if m.fresh {
		m.add(providerHourRow(rowRequestHour, m.hour, provider), d.Counts[:])
	}
	if known {
		row := m.add(idRow(rowToken, uint64(d.Token)), d.Counts[:])
		row.last.see(m.at, d.Counts.Total(), d.Counts.Success(), d.Counts.Failure())
	}
}

func (m merger) add(key RowKey, counts []uint64) *delta {
	d := entry(m.tick.rows, key)
	add(d.counts[:], counts)
	return d
}

// forget takes out the rows of keys and tokens that are gone.
func (t *openTick) forget(gone func(row) bool) {
	maps.DeleteFunc(t.rows, func(k RowKey, _ *delta) bool {
		r, err := k.parse()
		return err == nil && gone(r)
	})
}

// record answers the tick as it is to be written.
func (t *openTick) record(now time.Time) ([]Row, []Cursor) {
	rows := make([]Row, 0, len(t.rows))
	for key, d := range t.rows {
		rows = append(rows, Row{
			Key: key, Counts: trimZeros(d.counts[:]),
			Used: d.last.used, Success: d.last.success, Failure: d.last.failure,
		})
	}
	cursors := make([]Cursor, 0, len(t.cursors))
	for s, seq := range t.cursors {
		cursors = append(cursors, Cursor{Node: s.node, Epoch: s.epoch, Seq: seq, CommitTime: now})
	}
	return rows, cursors
}

func trimZeros(counts []uint64) []uint64 {
	for len(counts) > 0 && counts[len(counts)-1] == 0 {
		counts = counts[:len(counts)-1]
	}
	return counts
}
