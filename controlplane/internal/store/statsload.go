package store

import (
	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/stats"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// LoadStats implements stats.Store. The log holds at most what came since the last checkpoint, so it is summed up in memory
// first; the rows, of which there may be millions, then pass by one at a time.
func (s *Stats) LoadStats(each func(stats.Row) error) (loaded stats.Loaded, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		loaded.Seq = lastTick(tx)
		loaded.Folded = parseNumber(tx.Bucket([]byte(statsMeta)).Get([]byte(statsFolded)))
		if err := loadRows(tx, each); err != nil {
			return err
		}
		if err := loadCursors(tx, &loaded); err != nil {
			return err
		}
		loaded.Told = keysWithEvents(tx.Bucket([]byte(statsEvents)))
		if loaded.Budgets, err = readBudgets(tx.Bucket([]byte(statsBudgets))); err != nil {
			return err
		}
		return loadHealth(tx, &loaded)
	})
	return loaded, err
}

func loadRows(tx *bbolt.Tx, each func(stats.Row) error) error {
	missing, err := missingTicks(tx)
	if err != nil {
		return err
	}
	c := tx.Bucket([]byte(statsTotals)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		var t storev1.TotalRecord
		if err := decode(v, &t, "counts"); err != nil {
			return err
		}
		row := totalRow(k, &t)
		if m := missing[row.Key]; m != nil && m.found {
			row.Add(m.row)
			row.Pending = true
		}
		delete(missing, row.Key)
		if err := each(row); err != nil {
			return err
		}
	}
	for _, m := range missing { // rows that no checkpoint has seen yet
		m.row.Pending = true
		if err := each(m.row); err != nil {
			return err
		}
	}
	return nil
}

// missing is what the log has of a row beyond what its total includes.
type missing struct {
	row   stats.Row
	asOf  uint64 // the tick that the total includes
	found bool   // there is something
}

func missingTicks(tx *bbolt.Tx) (map[stats.RowKey]*missing, error) {
	totals := tx.Bucket([]byte(statsTotals))
	sums := map[stats.RowKey]*missing{}
	c := tx.Bucket([]byte(statsTickLog)).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		seq := parseNumber(k)
		var tick storev1.TickRecord
		if err := decode(v, &tick, "tick"); err != nil {
			return nil, err
		}
		for _, r := range tick.GetRows() {
			row := tickRow(r)
			m := sums[row.Key]
			if m == nil {
				m = &missing{row: stats.Row{Key: row.Key}}
				sums[row.Key] = m
				var t storev1.TotalRecord
				if value := totals.Get(r.GetKey()); value != nil {
					if err := decode(value, &t, "counts"); err != nil {
						return nil, err
					}
				}
				m.asOf = t.GetAsOf()
			}
			if seq > m.asOf {
				m.row.Add(row)
				m.found = true
			}
		}
	}
	return sums, nil
}

func loadCursors(tx *bbolt.Tx, loaded *stats.Loaded) error {
	return tx.Bucket([]byte(statsCursors)).ForEach(func(k, v []byte) error {
		c, err := cursorOf(k, v)
		loaded.Cursors = append(loaded.Cursors, c)
		return err
	})
}

func loadHealth(tx *bbolt.Tx, loaded *stats.Loaded) error {
	return tx.Bucket([]byte(statsHealth)).ForEach(func(_, v []byte) error {
		h, err := healthOf(v)
		loaded.Health = append(loaded.Health, h)
		return err
	})
}
