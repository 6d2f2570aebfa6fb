package leases

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// A control plane that was restored from a backup may give a process an epoch that a former one had. What was confirmed of that
// one would hide this one's batches, which have the same names: so the process knows which epochs it must not take.
func TestAJournalTellsWhichEpochsAreTaken(t *testing.T) {
	for _, c := range []struct {
		second uint64 // epoch of the second process
		found  uint64 // how often each of its attempts is to be reported
	}{{3, 1}, {2, 0}} { // the control: with the same epoch they are gone
		dir := t.TempDir()
		first, _ := openNotes(t, dir)
		if first.former != 0 {
			t.Errorf("without a journal epoch %d is taken", first.former)
		}
		r := newReporter(first)
		r.welcome(2, 0, 8)
		for id := range KeyID(3) {
			countNoted(first, 1+id)
			r.seal()
		}
		r.mu.Lock()
		r.confirmLocked(2, 3)
		r.mu.Unlock()
		countNoted(first, 4) // and killed
		first.notes.w.Close(false)

		second, _ := openNotes(t, dir)
		if second.former != 2 {
			t.Errorf("the journal says that epochs up to %d are taken, want 2", second.former)
		}
		r = newReporter(second)
		r.welcome(c.second, 0, 8)
		countNoted(second, 5)
		r.seal()
		countNoted(second, 6) // and killed before anything is confirmed
		second.notes.w.Close(false)

		third, _ := openNotes(t, dir)
		found := map[uint64]uint64{}
		for _, s := range newReporter(third).pending {
			for _, k := range s.batch.GetKeys() {
				found[k.GetKeyId()] += k.GetOk()
			}
		}
		if found[4] != 1 || found[5] != c.found || found[6] != c.found {
			t.Errorf("second epoch %d: attempts are to be reported so often: %v", c.second, found)
		}
	}
}

// countNoted begins and ends an attempt with a key.
func countNoted(b *Book, id KeyID) {
	l := Loan{key: &Key{ID: id}, of: &leased{provider: "ollama"}}
	b.begin(&l, "m")
	b.countAttempt(l, Attempt{Model: "m", Verdict: okVerdict})
}

// greeter is a control plane that answers a Hello with an epoch.
type greeter struct {
	leasev1.LeaseServiceClient
	leasev1.LeaseService_SessionClient
	epoch uint64
	hello *leasev1.Hello
}

func (g *greeter) Session(context.Context, ...grpc.CallOption) (leasev1.LeaseService_SessionClient, error) {
	return g, nil
}

func (g *greeter) Send(m *leasev1.SessionRequest) error {
	g.hello = m.GetHello()
	return nil
}

func (g *greeter) Recv() (*leasev1.SessionResponse, error) {
	if g.hello == nil {
		return nil, io.EOF
	}
	w := first()
	w.NodeEpoch = g.epoch
	second := durationOf(1e9)
	w.LeaseTtl, w.HeartbeatInterval, w.ReportInterval = second, second, second
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Welcome{Welcome: w}}, nil
}

// An epoch that the journals hold is refused, and the next Hello names the last one that they hold.
func TestAnEpochThatWasThereIsNotTakenAgain(t *testing.T) {
	l := newWired(t).link
	l.book.former = 7
	for _, epoch := range []uint64{5, 7} {
		g := &greeter{epoch: epoch}
		if err := (&session{link: l}).open(t.Context(), g); !errors.Is(err, errEpochTwice) {
			t.Errorf("epoch %d of a node whose journal is of epoch 7: %v", epoch, err)
		}
	}
	g := &greeter{epoch: 8}
	if err := (&session{link: l}).open(t.Context(), g); err != nil || g.hello.GetNodeEpoch() != 7 {
		t.Errorf("Hello named epoch %d, want 7: %v", g.hello.GetNodeEpoch(), err)
	}
}
