package stats

import (
	"errors"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// registry says which keys and tokens exist.
type registry struct {
	keys   map[pool.KeyID]bool
	tokens map[pool.TokenID]bool
}

func (r registry) option() Option {
	return Known(func(k pool.KeyID) bool { return r.keys[k] }, func(t pool.TokenID) bool { return r.tokens[t] })
}

func (f *fixture) onlyKey2(step string) {
	f.t.Helper()
	for key := range f.store.totals {
		r, err := key.parse()
		if err != nil {
			f.t.Fatal(err)
		}
		if (r.kind == rowKey || r.kind == rowKeyHour) && r.id != 2 || r.kind == rowToken && r.id != 2 {
			f.t.Errorf("%s: row %q is still on disk", step, string(key))
		}
	}
	if got := f.Key(1); got != (KeyStats{}) {
		f.t.Errorf("%s: got %v of the deleted key", step, got)
	}
	if got := f.Token(1); got != (TokenStats{}) {
		f.t.Errorf("%s: got %v of the deleted token", step, got)
	}
}

func TestForget(t *testing.T) {
	reg := registry{map[pool.KeyID]bool{1: true, 2: true}, map[pool.TokenID]bool{1: true, 2: true}}
	f := newFixture(t, reg.option())
	f.Submit(report(1, noon, keys(1, 2), 1, 2))
	f.commitNow()
	f.checkpointNow()
	f.now = f.now.Add(time.Hour)
	f.Submit(report(2, f.now, keys(1, 2), 1, 2)) // in the log when the key goes
	f.commitNow()
	f.Submit(report(3, f.now, keys(1, 2), 1, 2)) // not even committed
	delete(reg.keys, 1)
	delete(reg.tokens, 1)
	f.Forget(keys(1), []pool.TokenID{1})
	f.checkpointNow()
	f.onlyKey2("after the checkpoint")
	f.commitNow()
	f.Submit(report(4, f.now, keys(1, 2), 1, 2)) // a late report
	f.commitNow()
	f.onlyKey2("after late reports")
	f.reopen()
	f.checkpointNow()
	f.onlyKey2("after a restart")
	p := f.Providers()[0]
	if p.Attempts.Total() != 8 || p.Requests.Total() != 8 || f.Key(2).Counts.Total() != 4 {
		t.Errorf("got %v, want 8 attempts and 8 requests", p)
	}
}

// Wherever a checkpoint that drops rows ends, because the control plane dies or the disk is full, the next one drops what
// is left: rows of what was deleted, and hours that are over.
func TestForgetInterrupted(t *testing.T) {
	for why, fault := range map[string]error{"crash": errCrash, "full disk": errFull} {
		at := 1
		for ; forgetInterrupted(t, at, why, fault); at++ {
		}
		if at < 10 {
			t.Errorf("%s: only %d writes to fail, want more", why, at)
		}
	}
}

// forgetInterrupted has write number at of a checkpoint fail, and says whether there was such a write.
func forgetInterrupted(t *testing.T, at int, why string, fault error) bool {
	t.Helper()
	reg := registry{map[pool.KeyID]bool{1: true, 2: true}, map[pool.TokenID]bool{1: true, 2: true}}
	f := newFixture(t, reg.option(), ChunkRows(1))
	for h := range 3 {
		f.now = noon.Add(time.Duration(h) * time.Hour)
		f.Submit(report(uint64(h+1), f.now, keys(1, 2), 1, 2))
		f.commitNow()
	}
	f.checkpointNow()
	delete(reg.keys, 1)
	delete(reg.tokens, 1)
	f.Forget(keys(1), []pool.TokenID{1})
	f.now = noon.Add(60 * time.Hour)
	left := at
	f.store.before = func() error {
		if left--; left == 0 {
			return fault
		}
		return nil
	}
	f.startCheckpoint()
	err := f.finishCheckpoint()
	f.store.before = nil
	switch {
	case errors.Is(err, errCrash):
		f.reopen()
	case err != nil:
		t.Fatal(err)
	}
	f.checkpointNow()
	f.onlyKey2(why)
	for key := range f.store.totals {
		if r, _ := key.parse(); r.isHour() {
			t.Fatalf("%s at write %d: row %q of an hour that is over is still on disk", why, at, string(key))
		}
	}
	if got := f.Key(2).Counts.Total(); got != 3 {
		t.Fatalf("%s at write %d: got %d attempts with the other key, want 3", why, at, got)
	}
	return left <= 0
}

// A key can be deleted and the control plane die before anybody told the collector.
func TestForgetUnknownAtStart(t *testing.T) {
	reg := registry{map[pool.KeyID]bool{1: true, 2: true}, map[pool.TokenID]bool{1: true, 2: true}}
	w := &ward{unsaved: []pool.Health{{Key: 1, Strikes: 1}, {Key: 2, Strikes: 2}}}
	f := newFixture(t, reg.option(), w.option())
	f.Submit(report(1, noon, keys(1, 2), 1, 2))
	f.commitNow()
	delete(reg.keys, 1)
	delete(reg.tokens, 1)
	f.reopen()
	f.commitNow()
	f.checkpointNow()
	f.onlyKey2("after the start")
	if len(f.store.health) != 1 || f.store.health[2].Strikes != 2 {
		t.Errorf("got health %v, want that of key 2 only", f.store.health)
	}
}

func TestOldCursors(t *testing.T) {
	f := newFixture(t)
	for epoch := range uint64(3) {
		b := report(1, f.now, keys(1))
		b.Epoch = epoch + 1
		f.Submit(b)
		f.commitNow()
	}
	f.now = noon.Add(8 * 24 * time.Hour)
	b := report(2, f.now, keys(1))
	b.Epoch = 2
	f.Submit(b) // the journal of an older process; not committed when the checkpoint looks
	f.startCheckpoint()
	f.commitNow()
	f.checkpointNow()
	for step := range 2 {
		for epoch, want := range map[uint64]uint64{1: 0, 2: 2, 3: 1} {
			if got := f.LastSeq("n", epoch); got != want {
				t.Errorf("step %d, epoch %d: got %d, want %d", step, epoch, got, want)
			}
		}
		f.reopen()
	}
}
