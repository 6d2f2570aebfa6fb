package leases

import (
	"fmt"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// The choice of a key looks at as many among a hundred as among a hundred thousand, and leaves nothing for the collector; nor
// does what follows it, but for the row that a report needs of each key that was used.
func TestPredecessor_B3(t *testing.T) {
	for _, n := range []int{100, 100_000} {
		keys := make([]*leasev1.UpstreamKey, n)
		for i := range keys {
			keys[i] = key(uint64(i + 1))
			if i%10 == 0 {
				keys[i].Models = []string{"m", "qwen*"}
			}
		}
		d := newDesk(t, keys...)
		for i := range n / 3 { // every third is out, as in a bad hour
			d.tell(open(uint64(3*i+1), leasev1.Reason_REASON_AUTH_REJECTED, 0))
		}
		tried := make([]KeyID, 0, 8)
		choose := func() Loan {
			loan, err := d.Borrow(Want{Provider: "ollama", Model: "m", Tried: tried})
			if err != nil || !loan.Usable() {
				t.Fatalf("no key: %v", err)
			}
			return loan
		}
		settle := func(l Loan) {
			d.Settle(l, Attempt{Model: "m", Verdict: provider.Verdict{Class: provider.OK, Status: 200}, FirstByte: time.Millisecond})
		}
		for range n { // every key has its row
			settle(choose())
		}
		const runs = 5000
		tried = append(tried, choose().KeyID(), choose().KeyID())
		begin := time.Now()
		if got := testing.AllocsPerRun(runs, func() { d.Return(choose()) }); got != 0 {
			t.Errorf("of %d keys: %v allocations for a choice", n, got)
		}
		t.Logf("of %d keys: %v for a choice", n, time.Since(begin)/runs)
		if got := testing.AllocsPerRun(runs, func() { settle(choose()) }); got != 0 {
			t.Errorf("of %d keys: %v allocations for a choice and its settlement", n, got)
		}
		// That every third is out costs nothing: a choice looks at one key, and at those that were tried if they come up.
		most := func(allowed int) {
			t.Helper()
			for range runs {
				loan, looked := d.look(t, Want{Provider: "ollama", Model: "m", Tried: tried})
				d.Return(loan)
				if looked > allowed {
					t.Fatalf("of %d keys: a choice looks at %d", n, looked)
				}
			}
		}
		most(2 * (1 + len(tried))) // twice, as the hand is moved behind the one that was found
		// Nor that all but one are.
		var others []*leasev1.KeyHealth
		for i := range n - 1 {
			others = append(others, open(uint64(i+1), leasev1.Reason_REASON_AUTH_REJECTED, 0))
		}
		d.tell(others...)
		tried, begin = tried[:0], time.Now()
		if got := testing.AllocsPerRun(9, func() { d.Return(choose()) }); got != 0 {
			t.Errorf("of %d keys, one left: %v allocations for a choice", n, got)
		}
		t.Logf("of %d keys, one left: %v for a choice", n, time.Since(begin)/10)
		most(2)
	}
}

// look borrows, and answers how many keys were looked at for it.
func (d *desk) look(t *testing.T, w Want) (Loan, int) {
	t.Helper()
	var miss missed
	loan, ok := d.take(&w, &miss)
	if !ok {
		t.Fatalf("no key: %v", miss.err())
	}
	return loan, miss.looked
}

// Names that clients make up are no rows of a report: those that no upstream has served are one row, and those that one has
// served are bounded too.
func TestPredecessor_C13(t *testing.T) {
	d := newDesk(t, key(1))
	served := provider.Verdict{Class: provider.OK, Status: 200}
	const names = 200_000
	for n := range names {
		model := fmt.Sprint("made-up-", n)
		v := provider.Verdict{Class: provider.ClientError, Status: 404}
		if n%50 == 0 { // some upstreams serve whatever they are asked for
			v = served
		}
		loan, err := d.Borrow(Want{Provider: "ollama", Model: model})
		if err != nil {
			t.Fatal(err)
		}
		d.Settle(loan, Attempt{Model: model, Verdict: v})
		d.Arrive(1)
		d.Served(Request{Token: 7, Provider: "ollama", Model: model, End: EndOK})
	}
	batch := d.counts.take()
	var attempts, requests uint64
	for _, k := range batch.GetKeys() {
		attempts += k.GetOk() + k.GetClientError()
	}
	for _, c := range batch.GetTokens() {
		requests += c.GetOk()
	}
	if len(batch.GetModels()) > maxModels+1 || len(batch.GetKeys()) > maxModels+1 || len(batch.GetTokens()) > maxModels+1 {
		t.Errorf("%d models, %d rows of keys and %d of tokens, want %d and other", len(batch.GetModels()), len(batch.GetKeys()), len(batch.GetTokens()), maxModels)
	}
	if len(batch.GetModels()) < maxModels || attempts != names || requests != names {
		t.Errorf("%d models, %d attempts and %d requests of %d", len(batch.GetModels()), attempts, requests, names)
	}
	if !d.counts.empty() {
		t.Error("something is left")
	}
}
