package stats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

const stories = 1000

var quiet = slog.New(slog.DiscardHandler)

// TestExactlyOnce tells random stories of batches that come in any order, twice, or not at all, of a control plane that
// dies at any point and of a disk that fills up. After every step, what is to be read is exactly what the cursors say.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(stories) {
		if err := tell(seed, true); err != nil {
			t.Fatalf("story %d: %v", seed, err)
		}
	}
}

// TestExactlyOnceNotices proves that the stories would notice a collector that forgets what it has counted.
func TestExactlyOnceNotices(t *testing.T) {
	wrong := 0
	for seed := range uint64(200) {
		if tell(seed, false) != nil {
			wrong++
		}
	}
	if wrong < 190 {
		t.Errorf("got %d of 200 stories wrong without dedupe; want nearly all", wrong)
	}
}

// world is one story.
type world struct {
	rng    *rand.Rand
	now    time.Time
	store  *memStore
	c      *Collector
	dedupe bool

	plan  map[stream][]Batch // all that the nodes will ever report
	acked map[stream]uint64
	wait  []Receipt
}

func tell(seed uint64, dedupe bool) error {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_800_000_000, 0), store: newMemStore(), dedupe: dedupe,
		plan: map[stream][]Batch{}, acked: map[stream]uint64{},
	}
	for range 1 + w.rng.IntN(4) {
		s := stream{pool.NodeID(fmt.Sprintf("node-%d", w.rng.IntN(3))), uint64(1 + w.rng.IntN(2))}
		w.plan[s] = nil
		for seq := range uint64(1 + w.rng.IntN(12)) {
			w.plan[s] = append(w.plan[s], w.batch(s, seq+1))
		}
	}
	if err := w.open(); err != nil {
		return err
	}
	for range 20 + w.rng.IntN(60) {
		if err := errors.Join(w.step(), w.collect(), w.check()); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *world) batch(s stream, seq uint64) Batch {
	b := Batch{Node: s.node, Epoch: s.epoch, Seq: seq, SealedAt: w.now.Add(-time.Duration(w.rng.IntN(40)) * time.Hour)}
	for range w.rng.IntN(4) {
		d := KeyDelta{Key: pool.KeyID(1 + w.rng.IntN(5)), Provider: pool.ProviderID([]string{"p", "q"}[w.rng.IntN(2)])}
		for range w.rng.IntN(4) {
			d.Counts[w.rng.IntN(len(d.Counts))] = w.rng.Uint64N(1000)
		}
		b.Keys = append(b.Keys, d)
	}
	for range w.rng.IntN(4) {
		d := TokenDelta{Token: pool.TokenID(1 + w.rng.IntN(3)), Provider: "p", Model: fmt.Sprint("m", w.rng.IntN(4))}
		d.Counts[w.rng.IntN(len(d.Counts))] = w.rng.Uint64N(1000)
		b.Tokens = append(b.Tokens, d)
	}
	return b
}

// open starts a control plane on what the disk has.
func (w *world) open() error {
	w.store.before, w.store.after = nil, nil
	c, err := New(w.store, func() time.Time { return w.now }, ChunkRows(1+w.rng.IntN(8)), Log(quiet))
	if err != nil {
		return err
	}
	w.c, w.wait = c, nil
	for s, seq := range w.acked {
		if got := c.LastSeq(s.node, s.epoch); got < seq {
			return fmt.Errorf("%v: batch %d was acknowledged, but only %d is kept", s, seq, got)
		}
	}
	return nil
}

func (w *world) step() error {
	w.now = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	var err error
	switch n := w.rng.IntN(100); {
	case n < 60:
		w.deliver()
	case n < 80:
		w.mishap()
		_, err = w.c.commit()
	case n < 85:
		w.c.startCheckpoint()
	case n < 96:
		w.mishap()
		if w.c.work != nil {
			err = w.c.stepCheckpoint()
		}
	case n < 98:
		return w.open() // killed between two writes
	default:
		if err = w.c.finish(); err == nil {
			w.c.stop()
			return errors.Join(w.collect(), w.open())
		}
	}
	w.store.before, w.store.after = nil, nil
	if errors.Is(err, errCrash) {
		return w.open()
	}
	if errors.Is(err, ErrNoSpace) {
		return nil
	}
	return err
}

// mishap sometimes has the next write go wrong.
func (w *world) mishap() {
	crash := func() error { return errCrash }
	switch w.rng.IntN(8) {
	case 0:
		w.store.before = crash
	case 1:
		w.store.after = crash
	case 2:
		w.store.before = func() error { return errFull }
	}
}

// deliver sends any batch about where its stream is.
func (w *world) deliver() {
	for s, batches := range w.plan {
		at := int(w.acked[s]) + w.rng.IntN(6) - 2
		if at < 0 || at >= len(batches) || w.rng.IntN(2) == 0 {
			continue
		}
		w.submit(batches[at])
	}
}

func (w *world) submit(b Batch) Receipt {
	s := stream{b.Node, b.Epoch}
	if !w.dedupe {
		w.c.cursors[s] = Cursor{Node: b.Node, Epoch: b.Epoch, Seq: b.Seq - 1}
		delete(w.c.open.cursors, s)
	}
	r := w.c.Submit(b)
	w.wait = append(w.wait, r)
	return r
}

// collect takes the acknowledgements that are due; losing some is what a later delivery is for.
func (w *world) collect() error {
	var waiting []Receipt
	for _, r := range w.wait {
		select {
		case <-settled(r):
			ack, err := r.Wait(context.Background())
			if err == nil && w.rng.IntN(4) > 0 {
				w.acked[r.stream] = max(w.acked[r.stream], ack.Committed)
			}
		default:
			waiting = append(waiting, r)
		}
	}
	w.wait = waiting
	return nil
}

func settled(r Receipt) <-chan struct{} {
	if r.tick != nil {
		return r.tick.done
	}
	done := make(chan struct{})
	close(done)
	return done
}

// check compares what can be read with the batches that the cursors name.
func (w *world) check() error {
	want := w.sums(func(s stream) uint64 { return w.c.LastSeq(s.node, s.epoch) })
	return want.compare(w.c, w.now)
}

// end delivers all that is left and looks at what a new process finds.
func (w *world) end() error {
	for s, batches := range w.plan {
		for seq := w.c.LastSeq(s.node, s.epoch); seq < uint64(len(batches)); {
			r := w.submit(batches[seq])
			for range 2 { // one may only make up for a full disk
				if _, err := w.c.commit(); err != nil {
					return err
				}
			}
			ack, err := r.Wait(context.Background())
			if err != nil {
				return err
			}
			if ack.Committed <= seq && w.dedupe {
				return fmt.Errorf("%v: got %d committed, want more than %d", s, ack.Committed, seq)
			}
			seq = max(seq+1, ack.Committed)
		}
	}
	if err := w.c.finish(); err != nil {
		return err
	}
	if n := len(w.store.log); n > 0 {
		return fmt.Errorf("%d ticks are left in the log after the last checkpoint", n)
	}
	if err := w.open(); err != nil {
		return err
	}
	return w.sums(func(s stream) uint64 { return uint64(len(w.plan[s])) }).compare(w.c, w.now)
}
