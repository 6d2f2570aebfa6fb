package leases

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// Reporter carries counts to the control plane exactly once. A batch is sealed under (epoch, seq), kept until the control
// plane says that it is committed, and sent again after every break; the control plane drops what it has already. At most
// a window of batches is sealed and unconfirmed: beyond that counts merge into the open batch, so that an outage costs
// memory by what is active and not by how long it lasts.
type Reporter struct {
	book *Book

	mu      sync.Mutex
	epoch   uint64 // of this process at the control plane; 0: no Welcome yet
	last    uint64 // seq of the last batch sealed in epoch
	count   uint64 // batches sealed or sealed anew: the order in which they are sent, whatever their epochs
	window  int
	pending []sealed // unconfirmed, in order
	forgot  bool     // the journals of former processes are gone
	changed chan struct{}
}

// sealed is a batch whose content and name never change again; but see resealLocked.
type sealed struct {
	order      uint64
	epoch, seq uint64
	at         time.Duration
	batch      *leasev1.OutcomeBatch
	generation uint64 // of the journal; 0: it is of a former process, or there is none
}

func newReporter(b *Book) *Reporter {
	r := &Reporter{book: b, changed: make(chan struct{})}
	for _, s := range b.past {
		r.count++
		s.order, s.at = r.count, b.now()+s.at
		r.pending = append(r.pending, s)
	}
	b.past = nil
	return r
}

// welcome starts or continues an epoch, and drops what was committed before its acknowledgement got lost.
func (r *Reporter) welcome(epoch, committed uint64, window int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		r.epoch, r.last = epoch, committed
		if n := r.book.notes; n != nil {
			n.entered(epoch)
		}
	}
	r.window = max(window, 1)
	r.confirmLocked(epoch, committed)
}

// seal closes the open batch if there is anything in it and room for it.
func (r *Reporter) seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch == 0 || len(r.pending) >= r.window {
		return
	}
	n := r.book.notes
	if n == nil {
		if batch := r.book.counts.take(); batch != nil {
			r.appendLocked(sealed{at: r.book.now(), batch: batch})
		}
		return
	}
	batches, generation := n.close(&r.book.counts)
	if len(batches) == 0 {
		return
	}
	from := len(r.pending)
	for _, batch := range batches {
		r.appendLocked(sealed{at: r.book.now(), batch: batch, generation: generation})
	}
	n.sealed(generation, r.pending[from:], nil)
}

// appendLocked gives the batch the next name of the epoch.
func (r *Reporter) appendLocked(s sealed) {
	r.last++
	r.count++
	s.order, s.epoch, s.seq = r.count, r.epoch, r.last
	r.pending = append(r.pending, s)
}

// noteLocked lets the journal go of what is confirmed.
func (r *Reporter) noteLocked(epoch, committed uint64) {
	n := r.book.notes
	if n == nil {
		return
	}
	open, past := n.present(), false
	for _, s := range r.pending {
		if past = past || s.generation == 0; s.generation != 0 {
			open = min(open, s.generation)
		}
	}
	n.confirmed(epoch, committed, open)
	if !past && !r.forgot {
		r.forgot = true
		n.w.Forget()
	}
}

func (r *Reporter) confirmLocked(epoch, committed uint64) {
	kept := r.pending[:0]
	for _, s := range r.pending {
		if s.epoch != epoch || s.seq > committed {
			kept = append(kept, s)
		}
	}
	r.pending = kept
	r.noteLocked(epoch, committed)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Unconfirmed answers how many batches wait for their confirmation.
func (r *Reporter) Unconfirmed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending)
}

// Flush seals what is left and waits until everything is confirmed, or ctx ends. Nothing may be counted any more.
func (r *Reporter) Flush(ctx context.Context) error {
	for {
		r.seal()
		r.mu.Lock()
		left, changed := len(r.pending), r.changed
		r.mu.Unlock()
		if left == 0 && r.book.counts.empty() {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run reports over one connection until it breaks or ctx ends.
func (r *Reporter) run(ctx context.Context, client leasev1.LeaseServiceClient, every time.Duration) error {
	stream, err := client.ReportOutcomes(ctx)
	if err != nil {
		return err
	}
	acks := make(chan *leasev1.ReportOutcomesResponse)
	broken := make(chan error, 1)
	go func() {
		for {
			ack, err := stream.Recv()
			if err != nil {
				broken <- err
				return
			}
			select {
			case acks <- ack:
			case <-ctx.Done():
				return
			}
		}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var sent uint64 // order of the last batch that was sent over this connection
	for {
		if sent, err = r.send(stream, sent); err != nil && !errors.Is(err, io.EOF) { // on EOF the reader has the reason
			return err
		}
		select {
		case ack := <-acks:
			if sent, err = r.acknowledged(ack, sent); err != nil {
				return err
			}
		case <-tick.C:
			r.seal()
		case err := <-broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Reporter) send(stream leasev1.LeaseService_ReportOutcomesClient, sent uint64) (uint64, error) {
	r.mu.Lock()
	var next []sealed
	for _, s := range r.pending {
		if sent < s.order {
			next = append(next, s)
		}
	}
	r.mu.Unlock()
	for _, s := range next {
		err := stream.Send(&leasev1.ReportOutcomesRequest{
			NodeEpoch: s.epoch, Seq: s.seq, Age: durationOf(r.book.now() - s.at), Batch: s.batch,
		})
		if err != nil {
			return sent, err
		}
		sent = s.order
	}
	return sent, nil
}

// errCountsLost tells that the control plane lacks batches that it had confirmed: it was restored from a backup, or its
// statistics began anew. It takes nothing of this epoch any more; the next session is opened as a new process, whose epoch
// begins at 1.
var errCountsLost = errors.New("the control plane has lost counts that it had confirmed: it was restored from a backup, " +
	"or its statistics began anew; going on in a new epoch")

// errEpochTwice tells that the control plane gave this process an epoch that a former one had, by this node's journal: it was
// restored from a backup. The next session is opened as a new process that knows of the former one's epoch, and gets a later one.
var errEpochTwice = errors.New("the control plane gave an epoch that a former process of this node had: it was restored from a backup; " +
	"asking for a new one")

func (r *Reporter) acknowledged(ack *leasev1.ReportOutcomesResponse, sent uint64) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch, from := ack.GetNodeEpoch(), ack.GetResendFrom()
	r.confirmLocked(epoch, ack.GetCommittedSeq())
	at := slices.IndexFunc(r.pending, func(s sealed) bool { return s.epoch == epoch && s.seq >= from })
	switch {
	case from == 0 || at < 0:
		return sent, nil
	case r.pending[at].seq == from:
		return min(sent, r.pending[at].order-1), nil
	}
	r.book.log.Error("counts are lost: the control plane had confirmed them and does not have them any more",
		"epoch", epoch, "first_batch", from, "last_batch", r.pending[at].seq-1)
	if epoch == r.epoch {
		return sent, errCountsLost
	}
	r.resealLocked(epoch)
	return sent, nil
}

// resealLocked moves what is unconfirmed of a former epoch to this one. Only after the control plane has said that it lacks
// what came before: then it cannot have counted these either, nor ever will under their old names.
func (r *Reporter) resealLocked(epoch uint64) {
	moved := slices.Clone(r.pending)
	r.pending = slices.DeleteFunc(r.pending, func(s sealed) bool { return s.epoch == epoch })
	for _, s := range moved {
		if s.epoch == epoch {
			old := s
			r.appendLocked(s)
			if n := r.book.notes; n != nil {
				n.sealed(0, r.pending[len(r.pending)-1:], &old)
			}
		}
	}
}
