package leases

import (
	"context"
	"errors"
	"io"
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
	window  int
	pending []sealed // unconfirmed, in order; older epochs first
	changed chan struct{}
}

// sealed is a batch whose content and name never change again.
type sealed struct {
	epoch, seq uint64
	at         time.Duration
	batch      *leasev1.OutcomeBatch
}

func newReporter(b *Book) *Reporter { return &Reporter{book: b, changed: make(chan struct{})} }

// welcome starts or continues an epoch, and drops what was committed before its acknowledgement got lost.
func (r *Reporter) welcome(epoch, committed uint64, window int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		r.epoch, r.last = epoch, committed
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
	batch := r.book.counts.take()
	if batch == nil {
		return
	}
	r.last++
	r.pending = append(r.pending, sealed{epoch: r.epoch, seq: r.last, at: r.book.now(), batch: batch})
}

func (r *Reporter) confirmLocked(epoch, committed uint64) {
	kept := r.pending[:0]
	for _, s := range r.pending {
		if s.epoch != epoch || s.seq > committed {
			kept = append(kept, s)
		}
	}
	r.pending = kept
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
	var sent mark
	for {
		if sent, err = r.send(stream, sent); err != nil && !errors.Is(err, io.EOF) { // on EOF the reader has the reason
			return err
		}
		select {
		case ack := <-acks:
			sent = r.acknowledged(ack, sent)
		case <-tick.C:
			r.seal()
		case err := <-broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// mark is the last batch that was sent over this connection.
type mark struct{ epoch, seq uint64 }

func (m mark) before(s sealed) bool {
	return m.epoch < s.epoch || (m.epoch == s.epoch && m.seq < s.seq)
}

func (r *Reporter) send(stream leasev1.LeaseService_ReportOutcomesClient, sent mark) (mark, error) {
	r.mu.Lock()
	var next []sealed
	for _, s := range r.pending {
		if sent.before(s) {
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
		sent = mark{s.epoch, s.seq}
	}
	return sent, nil
}

func (r *Reporter) acknowledged(ack *leasev1.ReportOutcomesResponse, sent mark) mark {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.confirmLocked(ack.GetNodeEpoch(), ack.GetCommittedSeq())
	if from := ack.GetResendFrom(); from > 0 && sent.epoch == ack.GetNodeEpoch() && from <= sent.seq {
		return mark{ack.GetNodeEpoch(), from - 1}
	}
	return sent
}
