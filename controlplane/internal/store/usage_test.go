package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
	storev1 "ollama-api-pool/gen/pool/store/v1"
)

// Counts that an earlier release wrote are shorter. They load with nothing used, and what is used from then on is added.
func TestCountsWithoutUsageGrowIt(t *testing.T) {
	t.Parallel()
	path := filepath.Join(older(t, "before-imports.tar.gz").Dir, "stats.db")
	used := func(report ...stats.Batch) (totals [2]uint64, usage [2]stats.Usage, cached uint64) {
		file := openStatsFile(t, path)
		c, err := stats.New(file, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // Run commits what was submitted, and ends
		for _, b := range report {
			c.Submit(b)
		}
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Providers() {
			for i, u := range []stats.Usage{p.Attempts.Usage(), p.Requests.Usage()} {
				usage[i].Input, usage[i].Output, usage[i].Estimated = usage[i].Input+u.Input, usage[i].Output+u.Output, usage[i].Estimated+u.Estimated
			}
			totals[0], totals[1] = totals[0]+p.Attempts.Total(), totals[1]+p.Requests.Total()
			cached += p.Requests[stats.RequestFromCache]
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		return totals, usage, cached
	}

	totals, usage, cached := used()
	same(t, "before", []any{totals, usage, cached}, []any{[2]uint64{13, 12}, [2]stats.Usage{}, uint64(0)})
	attempts := stats.AttemptCounts{stats.AttemptOK: 1, stats.AttemptInputTokens: 100, stats.AttemptOutputTokens: 20, stats.AttemptEstimatedTokens: 5}
	requests := stats.RequestCounts{
		stats.RequestOK: 2, stats.RequestInputTokens: 200, stats.RequestOutputTokens: 40, stats.RequestEstimatedTokens: 10, stats.RequestFromCache: 1,
	}
	used(stats.Batch{
		Node: "newer", Epoch: 1, Seq: 1,
		Keys:   []stats.KeyDelta{{Key: 1, Provider: "ollama", Counts: attempts}},
		Tokens: []stats.TokenDelta{{Token: 1, Provider: "ollama", Counts: requests}},
	})
	totals, usage, cached = used()
	same(t, "after", []any{totals, usage, cached}, []any{[2]uint64{14, 14}, [2]stats.Usage{{Input: 100, Output: 20, Estimated: 5}, {Input: 200, Output: 40, Estimated: 10}}, uint64(1)})
}

// A token whose address range cannot be read is not taken for one that may be used from anywhere.
func TestATokenWithADamagedAddressRangeIsRefused(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	token := aToken(1)
	update(t, s, func(tx *Tx) (err error) { token, err = tx.PutToken(token); return err })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, o, func(b *bbolt.Tx) error {
		key := number(uint64(token.ID))
		var r storev1.TokenRecord
		if err := decode(b.Bucket([]byte(bucketTokens)).Get(key), &r, "token"); err != nil {
			return err
		}
		r.AllowedCidrs = []string{"10.0.0.0/8", "nowhere"}
		value, err := encode(&r)
		return errors.Join(err, b.Bucket([]byte(bucketTokens)).Put(key, value))
	})
	s = openConfig(t, o)
	if err := s.View(func(tx *Tx) error { _, err := tx.Token(token.ID); return err }); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
	seen := 0
	if err := s.View(func(tx *Tx) error {
		for got, err := range tx.Tokens() {
			if err != nil {
				return err
			}
			seen += len(got.AllowedCIDRs) + 1
		}
		return nil
	}); !errors.Is(err, ErrDamaged) || seen != 0 {
		t.Errorf("got %d tokens and %v, want ErrDamaged", seen, err)
	}
}

// What is chosen is kept over restarts also where it is the zero that older records leave out.
func TestNoPatienceIsNotTheDefault(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	for _, patience := range []time.Duration{0, time.Second, pool.DefaultPatience} {
		update(t, s, func(tx *Tx) error {
			p, err := tx.Provider("ollama")
			p.Patience = patience
			if err == nil {
				_, err = tx.PutProvider(p)
			}
			return err
		})
		s = reopen(t, o, s)
		view(t, s, func(tx *Tx) error {
			p, err := tx.Provider("ollama")
			same(t, "patience", p.Patience, patience)
			return err
		})
	}
}
