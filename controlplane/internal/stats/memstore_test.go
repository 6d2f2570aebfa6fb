package stats

import (
	"errors"
	"slices"

	"ollama-api-pool/controlplane/internal/pool"
)

var (
	errCrash = errors.New("the process died")
	errFull  = errors.Join(errors.New("write"), ErrNoSpace)
)

// memStore is a Store whose disk is memory. The real one is tested with the collector in package store; this one is fast,
// so that thousands of stories can be told.
type memStore struct {
	totals  map[RowKey]memRow
	log     []Tick
	cursors map[stream]Cursor
	health  map[pool.KeyID]pool.Health
	events  map[pool.KeyID][]pool.Event
	seq     uint64
	folded  uint64
	writes  int

	before, after func() error // what goes wrong before and after a write; nil: nothing
}

type memRow struct {
	row  Row
	asOf uint64
}

func newMemStore() *memStore {
	return &memStore{totals: map[RowKey]memRow{}, cursors: map[stream]Cursor{}, health: map[pool.KeyID]pool.Health{}, events: map[pool.KeyID][]pool.Event{}}
}

func (m *memStore) write(effect func()) error {
	if m.before != nil {
		if err := m.before(); err != nil {
			return err
		}
	}
	m.writes++
	effect()
	if m.after != nil {
		return m.after()
	}
	return nil
}

func (m *memStore) LoadStats(each func(Row) error) (Loaded, error) {
	rows := map[RowKey]Row{}
	for key, r := range m.totals {
		r.row.Counts = slices.Clone(r.row.Counts)
		rows[key] = r.row
	}
	for _, t := range m.log {
		for _, d := range t.Rows {
			if r, found := m.totals[d.Key]; found && t.Seq <= r.asOf {
				continue
			}
			r := rows[d.Key]
			r.Key, r.Pending = d.Key, true
			r.Add(d)
			rows[d.Key] = r
		}
	}
	for _, r := range rows {
		if err := each(r); err != nil {
			return Loaded{}, err
		}
	}
	l := Loaded{Seq: m.seq, Folded: m.folded}
	for _, c := range m.cursors {
		l.Cursors = append(l.Cursors, c)
	}
	for _, h := range m.health {
		l.Health = append(l.Health, h)
	}
	for id := range m.events {
		l.Told = append(l.Told, id)
	}
	return l, nil
}

func (m *memStore) CommitTick(t Tick) error {
	return m.write(func() {
		if len(t.Rows) > 0 {
			rows := slices.Clone(t.Rows)
			for i := range rows {
				rows[i].Counts = slices.Clone(rows[i].Counts)
			}
			m.log = append(m.log, Tick{Seq: t.Seq, Rows: rows})
			m.seq = t.Seq
		}
		for _, c := range t.Cursors {
			m.cursors[stream{c.Node, c.Epoch}] = c
		}
		for _, h := range t.Health {
			m.health[h.Key] = h
		}
		for _, id := range t.DropHealth {
			delete(m.health, id)
		}
		for _, e := range t.Events {
			m.events[e.Key] = append(m.events[e.Key], e)
		}
		for _, id := range t.DropEvents {
			delete(m.events, id)
		}
	})
}

func (m *memStore) KeyEvents(id pool.KeyID) ([]pool.Event, error) {
	events := slices.Clone(m.events[id])
	slices.Reverse(events)
	return events, nil
}

func (m *memStore) Checkpoint(c Chunk) error {
	return m.write(func() {
		for _, r := range c.Put {
			m.totals[r.Key] = memRow{r, c.AsOf}
		}
		for _, key := range c.Drop {
			delete(m.totals, key)
		}
		for _, cur := range c.DropCursors {
			delete(m.cursors, stream{cur.Node, cur.Epoch})
		}
		if c.Folds {
			m.folded = c.Fold
			m.log = slices.DeleteFunc(m.log, func(t Tick) bool { return t.Seq <= c.Fold })
		}
	})
}

func (m *memStore) DropRange(from, to RowKey, limit int) (int, error) {
	n := 0
	err := m.write(func() {
		for key := range m.totals {
			if from <= key && key < to && n < limit {
				delete(m.totals, key)
				n++
			}
		}
	})
	return n, err
}
