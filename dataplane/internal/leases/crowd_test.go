package leases

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// TestAKillAmongManyLosesNothing has many count at once while batches are sealed, sent and confirmed, over several files of the
// journal, until the process is killed. The rule of generations decides what of it was covered: with it every attempt that ended
// is counted once and every other is unknown once; without it, which is the control, some are not.
func TestAKillAmongManyLosesNothing(t *testing.T) {
	for covers, each := range map[bool]int{true: 9000, false: 1500} { // the control needs no second file
		c := &crowd{dir: t.TempDir(), cp: teller{}, rnd: rand.New(rand.NewPCG(7, 7)), covers: covers, each: each}
		c.live(t)
		if wrong := c.wrong(t); (wrong == 0) != covers {
			t.Errorf("covered %v: %d of %d attempts are counted wrongly", covers, wrong, c.next.Load())
		}
	}
}

const crowdSize = 8

// crowd is a process in which many count at once.
type crowd struct {
	dir    string
	cp     teller
	rnd    *rand.Rand
	covers bool
	each   int // attempts of each
	next   atomic.Uint64
	open   sync.Map // ids of attempts that have not ended
}

func (c *crowd) live(t *testing.T) {
	t.Helper()
	b, _ := openNotes(t, c.dir)
	rep := newReporter(b)
	rep.welcome(1, 0, 4)
	var many sync.WaitGroup
	for range crowdSize {
		many.Go(func() {
			for n := range c.each {
				id := c.next.Add(1)
				l := Loan{key: &Key{ID: KeyID(id)}, of: &leased{provider: "ollama"}}
				b.begin(&l, "m")
				if n%100 == 99 { // still under way when the process is killed
					c.open.Store(id, true)
					continue
				}
				b.countAttempt(l, Attempt{Model: "m", Verdict: okVerdict})
			}
		})
	}
	over := make(chan struct{})
	go func() { defer close(over); many.Wait() }()
	for seals := 0; ; seals++ {
		select {
		case <-over:
			if seals < 10 {
				t.Fatalf("only %d batches were sealed meanwhile", seals)
			}
			if files, _ := filepath.Glob(filepath.Join(c.dir, "*-000000.journal")); c.covers && len(files) != 0 {
				t.Fatal("the first file is still there: the story is too short")
			}
			b.notes.w.Close(false)
			return
		default:
			c.report(b, rep)
		}
	}
}

// report seals, and has some of what is sealed reach the control plane and some of that confirmed.
func (c *crowd) report(b *Book, rep *Reporter) {
	if !c.covers { // the seal names a generation that is none
		b.notes.cut.Lock()
		b.notes.generation = 0
		b.notes.cut.Unlock()
	}
	rep.seal()
	rep.mu.Lock()
	defer rep.mu.Unlock()
	sent := rep.pending[:c.rnd.IntN(len(rep.pending)+1)]
	c.cp.take(sent)
	if n := c.rnd.IntN(len(sent) + 1); n > 0 {
		rep.confirmLocked(1, sent[n-1].seq)
	}
}

// wrong answers how many attempts are not counted as they should be when two more processes have reported.
func (c *crowd) wrong(t *testing.T) (wrong int) {
	t.Helper()
	for range 2 {
		b, _ := openNotes(t, c.dir)
		c.cp.take(newReporter(b).pending)
		b.notes.w.Close(false)
	}
	times, unknown := c.cp.counted()
	for id := range c.next.Load() {
		want := uint64(0)
		if _, open := c.open.Load(id + 1); open {
			want = 1
		}
		if times[id+1] != 1 || unknown[id+1] != want {
			wrong++
		}
	}
	return wrong
}
