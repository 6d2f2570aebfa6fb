package leases

import (
	"testing"

	"google.golang.org/protobuf/proto"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// After a long outage a journal may hold more rows than a batch: they are told in several, which are the same however often they
// are read.
func TestWhatAJournalHoldsComesInBatchesThatFitIntoAMessage(t *testing.T) {
	const rows = maxRows + 10
	dir := t.TempDir()
	b, _ := openNotes(t, dir)
	newReporter(b).welcome(3, 0, 4)
	for id := range KeyID(rows) {
		countNoted(b, id+1)
	}
	b.notes.w.Close(false)
	names := map[[2]uint64]*leasev1.OutcomeBatch{}
	for range 2 {
		again, past := openNotes(t, dir)
		again.notes.w.Close(false)
		seen := map[uint64]bool{}
		all, _ := replay(past)
		for i, s := range all {
			if s.epoch != 3 || s.seq != uint64(i)+1 {
				t.Errorf("batch %d is number %d of epoch %d", i, s.seq, s.epoch)
			}
			if n := len(s.batch.GetKeys()) + len(s.batch.GetTokens()); n > maxRows {
				t.Errorf("%d rows in one batch, want %d at most", n, maxRows)
			}
			for _, k := range s.batch.GetKeys() {
				if seen[k.GetKeyId()] {
					t.Fatal("a row is there twice")
				}
				seen[k.GetKeyId()] = true
			}
			name := [2]uint64{s.epoch, s.seq}
			if before, known := names[name]; known && !proto.Equal(before, s.batch) {
				t.Errorf("batch %v is another one when it is read again", name)
			}
			names[name] = s.batch
		}
		if len(seen) != rows {
			t.Errorf("%d of %d rows are there", len(seen), rows)
		}
	}
}

// The first answer of a model is counted under the model's name; the journal says so too.
func TestAJournalNamesModelsAsTheyAreCounted(t *testing.T) {
	dir := t.TempDir()
	b, _ := openNotes(t, dir)
	newReporter(b).welcome(1, 0, 4)
	for range 3 {
		countNoted(b, 1)
	}
	counted := b.counts.take()
	b.notes.w.Close(false)
	_, past := openNotes(t, dir)
	all, _ := replay(past)
	if len(all) != 1 {
		t.Fatalf("%d batches", len(all))
	}
	if !proto.Equal(counted, all[0].batch) {
		t.Errorf("counted %v, the journal has %v", counted, all[0].batch)
	}
}
