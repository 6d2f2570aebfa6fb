package store

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

func loadAll(t *testing.T, s *Stats) (map[stats.RowKey]stats.Row, stats.Loaded) {
	t.Helper()
	rows := map[stats.RowKey]stats.Row{}
	loaded, err := s.LoadStats(func(r stats.Row) error { rows[r.Key] = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rows, loaded
}

func TestStatsRoundTrip(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	at := time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	health := []pool.Health{
		{Key: 1, Generation: 7, Phase: pool.AutoOff, Reason: pool.BrokenAnswer, Until: at, Strikes: 3, Ejections: 2},
		{Key: 1 << 63, Generation: 1, Phase: pool.Watched},
	}
	cursors := []stats.Cursor{
		{Node: "a", Epoch: 1, Seq: 9, CommitTime: at},
		{Node: "a", Epoch: 1 << 40, Seq: 1, CommitTime: at},
		{Node: "a.b", Epoch: 1, Seq: 1 << 50, CommitTime: at},
	}
	s := openStatsFile(t, path)
	err := errors.Join(
		s.CommitTick(stats.Tick{
			Seq: 1, Cursors: cursors, Health: append([]pool.Health{{Key: 5, Phase: pool.Suspect}}, health...),
			Rows: []stats.Row{{Key: "kx", Counts: []uint64{1, 0, 3}, Used: 10, Success: 9}, {Key: "ky", Counts: []uint64{4}}},
		}),
		s.CommitTick(stats.Tick{Seq: 2, Rows: []stats.Row{{Key: "kx", Counts: []uint64{1, 1, 0, 1}, Used: 8, Failure: 8}}}),
		s.CommitTick(stats.Tick{Seq: 2, DropHealth: []pool.KeyID{5, 6}}),
		s.Checkpoint(stats.Chunk{AsOf: 2, Put: []stats.Row{{Key: "kz", Counts: []uint64{6}}}}),
		s.Close())
	if err != nil {
		t.Fatal(err)
	}
	s = openStatsFile(t, path)
	defer s.Close()
	rows, loaded := loadAll(t, s)
	want := stats.Row{Key: "kx", Counts: []uint64{2, 1, 3, 1}, Used: 10, Success: 9, Failure: 8, Pending: true}
	same(t, "row x", rows["kx"], want)
	same(t, "row z", rows["kz"], stats.Row{Key: "kz", Counts: []uint64{6}})
	same(t, "rows", len(rows), 3)
	same(t, "last tick", loaded.Seq, uint64(2))
	same(t, "folded", loaded.Folded, uint64(0))
	if !slices.Equal(loaded.Health, health) || !slices.Equal(loaded.Cursors, cursors) {
		t.Errorf("got %v and %v, want %v and %v", loaded.Health, loaded.Cursors, health, cursors)
	}
	if err := s.CommitTick(stats.Tick{Seq: 2, Rows: []stats.Row{{Key: "kx"}}}); err == nil {
		t.Error("a tick took the number of another one")
	}
}

// A row that says that it has a tick is not given it again, wherever the checkpoint ended.
func TestStatsReplay(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	s := openStatsFile(t, path)
	one := []stats.Row{{Key: "kx", Counts: []uint64{1}}, {Key: "ky", Counts: []uint64{1}}}
	err := errors.Join(
		s.CommitTick(stats.Tick{Seq: 1, Rows: one}), s.CommitTick(stats.Tick{Seq: 2, Rows: one}),
		s.Checkpoint(stats.Chunk{AsOf: 2, Put: []stats.Row{{Key: "kx", Counts: []uint64{2}}}}), // first chunk
		s.CommitTick(stats.Tick{Seq: 3, Rows: one}))
	if err != nil {
		t.Fatal(err)
	}
	wants := func(step string, x, y uint64, pendingX, pendingY bool, folded uint64) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = openStatsFile(t, path)
		rows, loaded := loadAll(t, s)
		same(t, step+": x", rows["kx"], stats.Row{Key: "kx", Counts: []uint64{x}, Pending: pendingX})
		same(t, step+": y", rows["ky"], stats.Row{Key: "ky", Counts: []uint64{y}, Pending: pendingY})
		same(t, step+": folded", loaded.Folded, folded)
		same(t, step+": last tick", loaded.Seq, uint64(3))
	}
	wants("between chunks", 3, 3, true, true, 0)
	last := stats.Chunk{AsOf: 3, Put: []stats.Row{{Key: "ky", Counts: []uint64{3}}}, Folds: true, Fold: 2}
	if err := s.Checkpoint(last); err != nil {
		t.Fatal(err)
	}
	wants("after the last chunk", 3, 3, true, false, 2)
	if err := s.Checkpoint(stats.Chunk{AsOf: 3, Put: []stats.Row{{Key: "kx", Counts: []uint64{3}}}, Folds: true, Fold: 3}); err != nil {
		t.Fatal(err)
	}
	wants("after the next checkpoint", 3, 3, false, false, 3)
	err = s.db.View(func(b *bbolt.Tx) error {
		same(t, "ticks left in the log", b.Bucket([]byte(statsTickLog)).Stats().KeyN, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

func TestStatsDropRange(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	s := openStatsFile(t, path)
	var put []stats.Row
	for _, key := range []stats.RowKey{"h0", "h1", "h2", "h3", "i0", "g9"} {
		put = append(put, stats.Row{Key: key, Counts: []uint64{1}})
	}
	if err := s.Checkpoint(stats.Chunk{AsOf: 1, Put: put}); err != nil {
		t.Fatal(err)
	}
	for step, want := range []int{2, 1, 0} {
		if n, err := s.DropRange("h", "h3", 2); err != nil || n != want {
			t.Errorf("step %d: got %d, %v, want %d", step, n, err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStatsFile(t, path)
	defer s.Close()
	rows, _ := loadAll(t, s)
	same(t, "rows left", len(rows), 3)
}

func TestStatsFullAndFailedDisk(t *testing.T) {
	t.Parallel()
	tick := stats.Tick{Seq: 1, Rows: []stats.Row{{Key: "kx", Counts: []uint64{1}}}}
	for _, c := range []struct {
		why    string
		commit func(*bbolt.Tx) error
		want   error
		then   error // of the next try on a sound disk
	}{
		{"the disk is full", func(b *bbolt.Tx) error { return errors.Join(b.Rollback(), syscall.ENOSPC) }, stats.ErrNoSpace, nil},
		{"full, but the commit is valid", func(b *bbolt.Tx) error { return errors.Join(b.Commit(), syscall.ENOSPC) }, ErrFailed, ErrFailed},
		{"the sync failed", func(b *bbolt.Tx) error { return errors.Join(b.Rollback(), syscall.EIO) }, ErrFailed, ErrFailed},
	} {
		t.Run(c.why, func(t *testing.T) {
			t.Parallel()
			s := openStatsFile(t, newStatsFile(t))
			defer s.Close()
			s.commit = c.commit
			if err := s.CommitTick(tick); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			s.commit = (*bbolt.Tx).Commit
			if err := s.CommitTick(tick); !errors.Is(err, c.then) {
				t.Errorf("got %v from the next try, want %v", err, c.then)
			}
		})
	}
}

func TestOpenStatsRefuses(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	if err := CreateStats(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v from making it again, want fs.ErrExist", err)
	}
	if _, err := OpenStats(path + "x"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v for a missing file, want ErrMissing", err)
	}
	for _, c := range []struct {
		why  string
		edit func(*bbolt.Tx) error
		want error
	}{
		{"newer", func(b *bbolt.Tx) error { return b.Bucket([]byte(statsMeta)).Put([]byte(metaSchema), number(2)) }, ErrNewerSchema},
		{"no schema", func(b *bbolt.Tx) error { return b.Bucket([]byte(statsMeta)).Delete([]byte(metaSchema)) }, ErrDamaged},
		{"no fold", func(b *bbolt.Tx) error { return b.Bucket([]byte(statsMeta)).Delete([]byte(statsFolded)) }, ErrDamaged},
		{"no totals", func(b *bbolt.Tx) error { return b.DeleteBucket([]byte(statsTotals)) }, ErrDamaged},
	} {
		path := newStatsFile(t)
		s := openStatsFile(t, path)
		if err := errors.Join(s.db.Update(c.edit), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStats(path); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.why, err, c.want)
		}
	}
}

// What cannot be read is refused, never counted as something else.
func TestLoadStatsRefuses(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{statsTotals, statsTickLog, statsCursors, statsHealth} {
		for _, value := range []string{"", "\x02", "\x01\xff"} {
			s := openStatsFile(t, newStatsFile(t))
			err := s.db.Update(func(b *bbolt.Tx) error {
				return b.Bucket([]byte(bucket)).Put([]byte("n\x0012345678"), []byte(value))
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.LoadStats(func(stats.Row) error { return nil }); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s holds %q: got %v, want ErrDamaged", bucket, value, err)
			}
			_ = s.Close()
		}
	}
}
