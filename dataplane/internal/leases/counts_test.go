package leases

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

var okVerdict = provider.Verdict{Class: provider.OK, Status: 200}

func TestTokensAreCountedAndEstimatesKeptApart(t *testing.T) {
	d := newDesk(t, key(1))
	said, guessed := provider.Usage{Input: 100, Output: 20}, provider.Usage{Input: 7, Output: 3, Estimated: true}
	for _, u := range []provider.Usage{said, guessed} {
		d.Settle(d.must(t, plain(0)), Attempt{Model: "m", Verdict: okVerdict, Usage: u})
		d.Arrive(1)
		d.Served(Request{Token: 5, Provider: "ollama", Model: "m", End: EndOK, Usage: u})
	}
	d.Arrive(1)
	d.Served(Request{Token: 5, Provider: "ollama", Model: "m", End: EndOK, FromCache: true})
	batch := d.counts.take()
	if len(batch.GetKeys()) != 1 || len(batch.GetTokens()) != 1 {
		t.Fatalf("batch is %v", batch)
	}
	k, c := batch.GetKeys()[0], batch.GetTokens()[0]
	if k.GetInputTokens() != 107 || k.GetOutputTokens() != 23 || k.GetEstimatedTokens() != 10 {
		t.Errorf("the key's row is %v", k)
	}
	if c.GetInputTokens() != 107 || c.GetOutputTokens() != 23 || c.GetEstimatedTokens() != 10 {
		t.Errorf("the token's row is %v", c)
	}
	if c.GetOk() != 3 || c.GetFromCache() != 1 {
		t.Errorf("%d requests, %d of them from what was kept; want 3 and 1", c.GetOk(), c.GetFromCache())
	}
}

// Batches are taken while everybody counts. Nothing is lost, nothing is counted twice, whatever the names of the models.
func TestCountsAddUpWhateverIsTakenMeanwhile(t *testing.T) {
	const writers, each = 4, 5000
	var c counts
	var counted sync.WaitGroup
	for w := range uint64(writers) {
		counted.Go(func() {
			for i := range uint64(each) {
				name, v := fmt.Sprint("model-", i%1500), okVerdict
				if i%3 == 0 {
					name, v = fmt.Sprint("made-up-", w, i), provider.Verdict{Class: provider.ClientError}
				}
				u := provider.Usage{Input: i, Output: w, Estimated: i%2 == 0}
				c.attempt(KeyID(i%100+1), "ollama", Attempt{Model: name, Verdict: v, Usage: u, FirstByte: time.Millisecond})
				c.request(Request{Token: i%7 + 1, Provider: "ollama", Model: name, End: End(i % 7), Usage: u, FromCache: i%5 == 0})
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); counted.Wait() }()
	var keys, tokens, firstBytes, in, estimated, kept uint64
	models := map[string]bool{}
	take := func() {
		batch := c.take()
		for _, m := range batch.GetModels() {
			models[m.GetName()] = true
		}
		for _, k := range batch.GetKeys() {
			keys += k.GetOk() + k.GetClientError()
			firstBytes += k.GetFirstByteMsSum()
		}
		for _, t := range batch.GetTokens() {
			tokens += t.GetOk() + t.GetClientError() + t.GetLimited() + t.GetUnavailable() + t.GetUpstreamError() + t.GetTruncated() + t.GetCanceled()
			in, estimated, kept = in+t.GetInputTokens()+t.GetOutputTokens(), estimated+t.GetEstimatedTokens(), kept+t.GetFromCache()
		}
	}
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
			runtime.Gosched()
		}
		take()
	}
	for !c.empty() {
		take()
	}
	var wantIn, wantEstimated uint64
	for w := range uint64(writers) {
		for i := range uint64(each) {
			wantIn += i + w
			if i%2 == 0 {
				wantEstimated += i + w
			}
		}
	}
	if keys != writers*each || tokens != writers*each || firstBytes != writers*each {
		t.Errorf("%d attempts, %d requests, %d ms; want %d of each", keys, tokens, firstBytes, writers*each)
	}
	if in != wantIn || estimated != wantEstimated || kept != writers*each/5 {
		t.Errorf("%d tokens, %d estimated, %d answers kept; want %d, %d, %d", in, estimated, kept, wantIn, wantEstimated, writers*each/5)
	}
	if len(models) > maxModels+1 {
		t.Errorf("%d models, want at most %d and other", len(models), maxModels)
	}
}

func TestARowThatIsThereIsCountedWithoutAllocation(t *testing.T) {
	d := newDesk(t, key(1))
	once := func() {
		d.Arrive(1)
		d.Settle(d.must(t, plain(0)), Attempt{Model: "m", Verdict: okVerdict})
		d.Served(Request{Token: 5, Provider: "ollama", Model: "m", End: EndOK})
	}
	if got := testing.AllocsPerRun(1000, once); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// While more is counted all the time than a batch holds, every row comes to its turn.
func TestNoRowIsLeftBehindForEver(t *testing.T) {
	const n = maxRows * 3 / 4
	var c counts
	seen := map[uint64]bool{}
	for range countShards {
		for id := range KeyID(n) {
			c.attempt(id+1, "ollama", Attempt{Verdict: okVerdict})
		}
		for _, k := range c.take().GetKeys() {
			seen[k.GetKeyId()] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d rows were ever taken", len(seen), n)
	}
}
