package leases

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/journal"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// teller is a control plane that keeps every batch it is sent once, by its name.
type teller map[[2]uint64]*leasev1.OutcomeBatch

func (c teller) take(list []sealed) {
	for _, s := range list {
		if name := [2]uint64{s.epoch, s.seq}; c[name] == nil {
			c[name] = s.batch
		}
	}
}

// counted answers how often each key's attempt was counted, and how many of them as unknown.
func (c teller) counted() (times map[uint64]uint64, unknown map[uint64]uint64) {
	times, unknown = map[uint64]uint64{}, map[uint64]uint64{}
	for _, b := range c {
		for _, k := range b.GetKeys() {
			times[k.GetKeyId()] += k.GetOk() + k.GetUnknown()
			unknown[k.GetKeyId()] += k.GetUnknown()
		}
	}
	return times, unknown
}

func openNotes(t *testing.T, dir string) (*Book, []journal.Past) {
	t.Helper()
	w, past, err := journal.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return NewBook(Config{Now: func() time.Duration { return time.Hour }, Journal: w, Past: past}), past
}

// TestAKillLosesNothing runs processes of a node that begin and end attempts, seal, send and have confirmed, in any order, and are
// killed at any byte of what they write. In the end every attempt that ended is counted once, and every other that had begun is
// unknown, once.
func TestAKillLosesNothing(t *testing.T) {
	for _, covers := range []bool{true, false} { // without the rule of generations, which is the control, it must show
		wrong := 0
		for seed := range uint64(300) {
			wrong += killedStory(t, rand.New(rand.NewPCG(seed, 9)), covers)
		}
		if (wrong == 0) != covers {
			t.Errorf("covered %v: %d attempts are counted wrongly", covers, wrong)
		}
	}
}

func killedStory(t *testing.T, r *rand.Rand, covers bool) (wrong int) {
	t.Helper()
	dir, cp := t.TempDir(), teller{}
	ended, begun := map[uint64]bool{}, map[uint64]bool{}
	next := uint64(0)
	for process := range uint64(3) {
		b, _ := openNotes(t, dir)
		rep, epoch := newReporter(b), process+1
		rep.welcome(epoch, 0, 4)
		open := map[uint64]Loan{}
		path := newest(t, dir)
		// what is true once so many bytes are written
		type moment struct {
			size         int64
			begun, ended uint64
			sent         []sealed
		}
		var story []moment
		note := func(m moment) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			m.size = info.Size()
			story = append(story, m)
		}
		for range 40 {
			switch r.IntN(6) {
			case 0, 1:
				next++
				l := Loan{key: &Key{ID: KeyID(next)}, of: &leased{provider: "ollama"}}
				b.begin(&l, "m")
				open[next] = l
				note(moment{begun: next})
			case 2, 3:
				for id, l := range open {
					b.countAttempt(l, Attempt{Model: "m", Verdict: okVerdict})
					delete(open, id)
					note(moment{ended: id})
					break
				}
			case 4:
				if !covers { // the seal names a generation that is none
					b.notes.generation = 0
				}
				rep.seal()
				note(moment{})
			default:
				note(moment{sent: append([]sealed(nil), rep.pending...)})
				rep.mu.Lock()
				rep.confirmLocked(epoch, rep.last)
				rep.mu.Unlock()
				note(moment{})
			}
		}
		b.notes.w.Close(false)
		size := int64(0)
		if len(story) > 0 {
			size = r.Int64N(story[len(story)-1].size + 1)
		}
		if process == 2 {
			size = story[len(story)-1].size
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		for _, m := range story { // a batch is sent after its seal was written, and so is known after any cut behind that
			if m.size <= size {
				cp.take(m.sent)
				begun[m.begun], ended[m.ended] = true, true
			}
		}
	}
	for range 2 { // a process that is killed while it replays changes nothing
		b, _ := openNotes(t, dir)
		cp.take(newReporter(b).pending)
		b.notes.w.Close(false)
	}
	times, unknown := cp.counted()
	for id := uint64(1); id <= next; id++ {
		want, wantUnknown := uint64(0), uint64(0)
		if begun[id] {
			want = 1
			if !ended[id] {
				wantUnknown = 1
			}
		}
		if times[id] != want || unknown[id] != wantUnknown {
			wrong++
		}
	}
	return wrong
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(files) == 0 {
		t.Fatal(fmt.Sprint("no journal: ", err))
	}
	return files[len(files)-1]
}
