package stats

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"ollama-api-pool/controlplane/internal/pool"
)

// A million names of models that nobody has heard of make as many rows as are allowed, and one for all others; nothing is
// left out of any sum, on disk neither.
func TestPredecessor_C13(t *testing.T) {
	f := newFixture(t)
	random := rand.New(rand.NewPCG(1, 2))
	const names, inBatch = 1_000_000, 1000
	id := pool.KeyID(1)
	for seq := range uint64(names / inBatch) {
		b := Batch{Node: "n", Epoch: 1, Seq: seq + 1, Tokens: make([]TokenDelta, 0, inBatch)}
		b.Keys = []KeyDelta{{Key: id, Provider: "p", Counts: AttemptCounts{AttemptOK: inBatch}}}
		for range inBatch {
			model := "<img src=x>" + strconv.FormatUint(random.Uint64(), 36)
			b.Tokens = append(b.Tokens, TokenDelta{Token: 1, Provider: "p", Model: model, Counts: RequestCounts{RequestOK: 1}})
		}
		f.Submit(b)
		if seq%100 == 99 {
			f.commitNow()
		}
	}
	f.checkpointNow()
	for _, restarted := range []bool{false, true} {
		if restarted {
			f.reopen()
		}
		models := f.Models("", names)
		var sum uint64
		for _, m := range models {
			sum += m.Requests.Total()
		}
		if len(models) != maxModels+1 || sum != names {
			t.Errorf("restarted %v: %d models with %d requests, want %d and other, with %d", restarted, len(models), sum, maxModels, names)
		}
		if models[0].Model != other || models[0].Requests.Total() != names-maxModels {
			t.Errorf("restarted %v: the first is %q with %d", restarted, models[0].Model, models[0].Requests.Total())
		}
		p := f.Providers()
		if len(p) != 1 || p[0].Requests.Total() != names || p[0].Attempts.Total() != names || f.Key(id).Counts.Total() != names || f.Token(1).Counts.Total() != names {
			t.Errorf("restarted %v: sums are %+v", restarted, p)
		}
	}
	if rows := len(f.store.totals); rows > maxModels+10 {
		t.Errorf("%d rows on disk", rows)
	}
}
