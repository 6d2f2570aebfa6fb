package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

// older unpacks the data directory of an earlier release.
func older(t *testing.T, name string) Options {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return quiet(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, filepath.Base(h.Name)), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// The files of every earlier release open, also after a crash, with all that was in them, and can do what those of this one
// can. A file of a later release is refused, and left as it is.
func TestPredecessor_B7(t *testing.T) {
	t.Parallel()
	releases, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil || len(releases) == 0 {
		t.Fatalf("there are no files of earlier releases: %v", err)
	}
	for _, path := range releases {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprint(filepath.Base(path), " crashed ", crashed), func(t *testing.T) {
				t.Parallel()
				o := older(t, filepath.Base(path))
				if crashed {
					meta(t, o, metaClosed, nil)
				}
				holdsWhatItHeld(t, o)
				doesWhatANewOneDoes(t, o)
			})
		}
		for _, file := range []string{"config.db", "stats.db"} {
			t.Run(fmt.Sprint(filepath.Base(path), " later ", file), func(t *testing.T) {
				t.Parallel()
				o := older(t, filepath.Base(path))
				later(t, o, file)
			})
		}
	}
}

// later makes the file one of a later release.
func later(t *testing.T, o Options, file string) {
	t.Helper()
	path := filepath.Join(o.Dir, file)
	db, err := openBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(func(b *bbolt.Tx) error {
		_, err := b.CreateBucket([]byte("of a later release"))
		return errors.Join(err, b.Bucket([]byte(bucketMeta)).Put([]byte(metaSchema), number(schemaVersion+1)))
	}), db.Close()); err != nil {
		t.Fatal(err)
	}
	before := files(t, o.Dir)
	if file == configFile {
		refused(t, o, ErrNewerSchema, "newer release")
	} else if _, err := OpenStats(path); !errors.Is(err, ErrNewerSchema) {
		t.Errorf("got %v, want ErrNewerSchema", err)
	}
	if after := files(t, o.Dir); after[file] != before[file] || len(after) != len(before) {
		t.Error("a file was changed")
	}
}

func holdsWhatItHeld(t *testing.T, o Options) {
	t.Helper()
	s := openConfig(t, o)
	view(t, s, func(tx *Tx) error {
		var got []string
		for k, err := range tx.Keys() {
			if err != nil {
				return err
			}
			if k.Group != "" || k.Limits != (pool.Limits{}) || k.MaxStale != 0 {
				t.Errorf("%s has bounds that nobody set: %q %+v %v", k.ID, k.Group, k.Limits, k.MaxStale)
			}
			got = append(got, fmt.Sprint(k.Secret.Reveal(), " ", k.Provider, " ", k.Label, " ", k.Weight, " ", k.Priority, " ",
				k.Models, " ", k.Regions, " ", k.Disabled, " ", k.Note, " ", k.ExpireTime.Year(), " ", k.Category))
		}
		slices.Sort(got)
		same(t, "keys", got, []string{
			"sk-CANARY-0123456789-dead ollama  1 0 [] [] false  1 ",
			"sk-CANARY-0123456789-first ollama ann@example.com 7 0 [gpt*] [eu-west] false  1 ",
			"sk-CANARY-0123456789-off ollama  1 0 [] [] true on leave 1 ",
			"sk-CANARY-0123456789-routed openrouter rita 1 0 [] [] false  1 ",
			"sk-CANARY-0123456789-second ollama  1 3 [] [] false  2126 ",
		})
		got = nil
		for token, err := range tx.Tokens() {
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprint(token.Name, " ", token.Provider, " ", token.Models, " ", token.Display))
			if len(token.AllowedCIDRs) != 0 || token.Limits != (pool.Limits{}) || token.Tenant != "" || token.Cache != nil {
				t.Errorf("%s has bounds that nobody set: %+v", token.Name, token)
			}
		}
		same(t, "tokens", got, []string{"app ollama [gpt*] sk-pool-…aMIx"})
		got = nil
		for p, err := range tx.Providers() {
			if err != nil {
				return err
			}
			got = append(got, fmt.Sprint(p.ID, " ", p.BaseURL, " ", p.Dialect, " ", p.Enabled, " ", p.AllowPrivateAddresses, " ", p.Headers, " ", tx.CountKeys(p.ID)))
			if p.Patience != pool.DefaultPatience || p.Affinity != pool.AffinityOnRequest || p.CacheTTL != 0 || len(p.ModelAliases) != 0 {
				t.Errorf("%s has not the defaults: %+v", p.ID, p)
			}
		}
		same(t, "providers", got, []string{
			"mine https://mine.example openai true false map[X-Team:7] 0",
			"ollama http://127.0.0.1:19301 ollama true true map[] 4",
			"openrouter https://openrouter.ai/api openrouter true false map[] 1",
		})
		n, err := tx.Node("older-1")
		same(t, "node", n.Region, "eu-west")
		if n.Drained || !n.EvictTime.IsZero() {
			t.Errorf("the node is drained or evicted: %+v", n)
		}
		if _, err := tx.Sealed("ca"); err != nil {
			t.Errorf("the CA: %v", err)
		}
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	figures := openStatsFile(t, filepath.Join(o.Dir, "stats.db"))
	rows, loaded := loadAll(t, figures)
	sums := map[byte]uint64{}
	for name, row := range rows {
		for i, n := range row.Counts {
			if i != stats.AttemptFirstByteMsSum {
				sums[name[0]] += n
			}
		}
	}
	same(t, "attempts by key and by provider, requests by token, by provider and by model",
		[]uint64{sums['k'], sums['p'], sums['t'], sums['q'], sums['m']}, []uint64{13, 13, 12, 12, 12})
	same(t, "keys with health", len(loaded.Health), 1)
	same(t, "cursors", len(loaded.Cursors), 1)
	if err := figures.CommitTick(stats.Tick{Seq: loaded.Seq + 1, Rows: []stats.Row{{Key: "pollama", Counts: []uint64{1}}}}); err != nil {
		t.Error(err)
	}
	if err := figures.Close(); err != nil {
		t.Error(err)
	}
}

func doesWhatANewOneDoes(t *testing.T, o Options) {
	t.Helper()
	s := openConfig(t, o)
	var back pool.KeyID
	update(t, s, func(tx *Tx) error {
		id, ok := tx.KeyBySecret(pool.NewSecret("sk-CANARY-0123456789-first"))
		if !ok {
			return ErrNotFound
		}
		back = id
		k, err := tx.Key(id)
		if err != nil {
			return err
		}
		k.Category, k.Label = "qwen", "anna"
		if _, err := tx.PutKey(k); err != nil {
			return err
		}
		return tx.DeleteKey(id, false)
	})
	s = reopen(t, o, s)
	update(t, s, func(tx *Tx) error {
		k, err := tx.RestoreKey(back)
		same(t, "restored", strings.Join([]string{k.Label, k.Category, k.Secret.Reveal()}, " "), "anna qwen sk-CANARY-0123456789-first")
		return err
	})
	update(t, s, func(tx *Tx) error {
		_, err := tx.PutKey(aKey(1))
		return err
	})
	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error { same(t, "keys", tx.CountKeys("ollama"), 5); return nil })
}
