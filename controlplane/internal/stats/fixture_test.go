package stats

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fixture is a collector whose clock the test moves and whose ticks it commits by hand.
type fixture struct {
	*Collector
	t     *testing.T
	store *memStore
	now   time.Time
	opts  []Option
}

func newFixture(t *testing.T, opts ...Option) *fixture {
	t.Helper()
	f := &fixture{t: t, store: newMemStore(), now: noon, opts: opts}
	f.reopen()
	return f
}

// reopen starts a new process on the same disk.
func (f *fixture) reopen() {
	f.t.Helper()
	c, err := New(f.store, func() time.Time { return f.now }, append([]Option{Log(quiet)}, f.opts...)...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Collector = c
	c.forgetUnknown()
}

func (f *fixture) commitNow() {
	f.t.Helper()
	if _, err := f.commit(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) checkpointNow() {
	f.t.Helper()
	f.startCheckpoint()
	if err := f.finishCheckpoint(); err != nil {
		f.t.Fatal(err)
	}
}

// report is a batch with one successful attempt with each key and one failed request with each token.
func report(seq uint64, at time.Time, keys []pool.KeyID, tokens ...pool.TokenID) Batch {
	b := Batch{Node: "n", Epoch: 1, Seq: seq, SealedAt: at}
	for _, k := range keys {
		b.Keys = append(b.Keys, KeyDelta{Key: k, Provider: "p", Model: "m", Counts: AttemptCounts{AttemptOK: 1}})
	}
	for _, id := range tokens {
		b.Tokens = append(b.Tokens, TokenDelta{Token: id, Provider: "p", Model: "m", Counts: RequestCounts{RequestLimited: 1}})
	}
	return b
}

func keys(ids ...pool.KeyID) []pool.KeyID { return ids }
