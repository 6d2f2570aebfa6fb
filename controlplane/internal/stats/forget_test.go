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

// Wherever the control plane dies while it drops rows, the next one drops what is left.
func TestForgetCrash(t *testing.T) {
	for die := 1; ; die++ {
		reg := registry{map[pool.KeyID]bool{1: true, 2: true}, map[pool.TokenID]bool{1: true, 2: true}}
		f := newFixture(t, reg.option(), ChunkRows(1))
		for h := range 3 {
			f.now = noon.Add(time.Duration(h) * time.Hour)
			f.Submit(report(uint64(h+1), f.now, keys(1, 2), 1, 2))
			f.commitNow()
		}
		delete(reg.keys, 1)
		delete(reg.tokens, 1)
		f.Forget(keys(1), []pool.TokenID{1})
		left := die
		f.store.before = func() error {
			if left--; left == 0 {
				return errCrash
			}
			return nil
		}
		f.startCheckpoint()
		err := f.finishCheckpoint()
		f.store.before = nil
		if err == nil {
			if die < 10 {
				t.Errorf("only %d places to die, want more", die)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		f.reopen()
		f.checkpointNow()
		f.onlyKey2("after a crash")
		if got := f.Key(2).Counts.Total(); got != 3 {
			t.Fatalf("died at write %d: got %d attempts with the other key, want 3", die, got)
		}
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
	f.checkpointNow()
	f.commitNow()
	for step := range 2 {
		for epoch, want := range map[uint64]uint64{1: 0, 2: 2, 3: 1} {
			if got := f.LastSeq("n", epoch); got != want {
				t.Errorf("step %d, epoch %d: got %d, want %d", step, epoch, got, want)
			}
		}
		f.reopen()
	}
}
