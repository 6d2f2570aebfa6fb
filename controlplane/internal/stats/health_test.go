package stats

import (
	"slices"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// ward has the health that the pool wants saved.
type ward struct{ unsaved, saved []pool.Health }

func (w *ward) option() Option {
	return SaveHealth(func() []pool.Health { return slices.Clone(w.unsaved) }, func(h []pool.Health) {
		w.saved = append(w.saved, h...)
		w.unsaved = slices.DeleteFunc(w.unsaved, func(u pool.Health) bool { return slices.Contains(h, u) })
	})
}

func TestHealthRidesAlong(t *testing.T) {
	w := &ward{}
	f := newFixture(t, w.option())
	out := pool.Health{Key: 1, Generation: 3, Phase: pool.AutoOff, Reason: pool.ServerError, Until: noon.Add(time.Hour), Strikes: 3}
	well := pool.Health{Key: 1, Generation: 3}

	f.Submit(report(1, noon, keys(1)))
	w.unsaved = []pool.Health{out}
	f.commitNow()
	if f.store.writes != 1 {
		t.Errorf("got %d commits for counters and health, want 1", f.store.writes)
	}
	if !slices.Equal(w.saved, []pool.Health{out}) {
		t.Errorf("got %v saved, want %v", w.saved, out)
	}
	f.reopen()
	if !slices.Equal(f.Health(), []pool.Health{out}) {
		t.Errorf("got %v after a restart, want %v", f.Health(), out)
	}

	f.store.before = func() error { return errFull }
	w.saved, w.unsaved = nil, []pool.Health{well}
	f.commitNow()
	if len(w.saved) != 0 {
		t.Errorf("got %v told as saved on a full disk", w.saved)
	}
	f.store.before = nil
	f.commitNow()
	if len(w.saved) != 1 || len(f.store.health) != 0 {
		t.Errorf("got %v saved and %v on disk; good health needs no row", w.saved, f.store.health)
	}

	writes := f.store.writes
	w.saved, w.unsaved = nil, []pool.Health{well}
	f.commitNow()
	if len(w.saved) != 1 || f.store.writes != writes {
		t.Errorf("got %v saved with %d commits, want 1 with none: there is no row to delete", w.saved, f.store.writes-writes)
	}

	w.unsaved = []pool.Health{out}
	f.commitNow()
	f.Forget(keys(1), nil)
	f.commitNow()
	if len(f.store.health) != 0 {
		t.Errorf("got %v of a deleted key", f.store.health)
	}
}
