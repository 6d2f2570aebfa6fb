package store

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

// ledgerKeys is how many keys the batches of ledgerBatch speak of.
const ledgerKeys = 9

var ledgerNodes = []pool.NodeID{"ams-1", "ams-2", "fra-1"}

// ledgerBatch is what a node reports in its batch seq, the same whenever it is asked.
func ledgerBatch(node pool.NodeID, seq uint64, sealed time.Time) stats.Batch {
	b := stats.Batch{Node: node, Epoch: 1, Seq: seq, SealedAt: sealed}
	mix := seq*2654435761 + uint64(node[0])*40503 + uint64(node[4])
	for i := range mix % 4 {
		d := stats.KeyDelta{Key: pool.KeyID((mix+i*i)%ledgerKeys + 1), Provider: "p", Model: "m"}
		d.Counts[(mix+i)%uint64(len(d.Counts))] = mix%1000 + 1
		b.Keys = append(b.Keys, d)
		t := stats.TokenDelta{Token: pool.TokenID((mix+i)%3 + 1), Provider: "q", Model: fmt.Sprint("m-", mix%5)}
		t.Counts[(mix+i)%uint64(len(t.Counts))] = mix%77 + 1
		b.Tokens = append(b.Tokens, t)
	}
	return b
}

// checkLedger adds up what every node reported as far as its cursor says, and compares everything that can be read.
func checkLedger(c *stats.Collector, now time.Time) error {
	var attempts stats.AttemptCounts
	var requests stats.RequestCounts
	keys := map[pool.KeyID]stats.AttemptCounts{}
	for _, node := range ledgerNodes {
		for seq := range c.LastSeq(node, 1) {
			b := ledgerBatch(node, seq+1, now)
			for _, d := range b.Keys {
				k := keys[d.Key]
				for i, n := range d.Counts {
					k[i], attempts[i] = k[i]+n, attempts[i]+n
				}
				keys[d.Key] = k
			}
			for _, d := range b.Tokens {
				for i, n := range d.Counts {
					requests[i] += n
				}
			}
		}
	}
	for id := pool.KeyID(1); id <= ledgerKeys; id++ {
		if got := c.Key(id).Counts; got != keys[id] {
			return fmt.Errorf("key %d: got %v, want %v", id, got, keys[id])
		}
		var inHours uint64
		for _, h := range c.KeyHours(id, now) {
			inHours += h.Total
		}
		if inHours != keys[id].Total() {
			return fmt.Errorf("key %d: got %d attempts in all hours, want %d", id, inHours, keys[id].Total())
		}
	}
	return checkTotals(c, now, attempts, requests)
}

func checkTotals(c *stats.Collector, now time.Time, attempts stats.AttemptCounts, requests stats.RequestCounts) error {
	var byProvider, byHour stats.AttemptCounts
	var byToken, byModel, requestsByHour stats.RequestCounts
	for _, p := range c.Providers() {
		byProvider = sum(byProvider, p.Attempts)
	}
	for _, h := range c.Hours("", now) {
		byHour, requestsByHour = sum(byHour, h.Attempts), sumRequests(requestsByHour, h.Requests)
	}
	for id := pool.TokenID(1); id <= 3; id++ {
		byToken = sumRequests(byToken, c.Token(id).Counts)
	}
	for _, m := range c.Models("q", 100) {
		byModel = sumRequests(byModel, m.Requests)
	}
	if byProvider != attempts || byHour != attempts {
		return fmt.Errorf("attempts: got %v by provider and %v by hour, want %v", byProvider, byHour, attempts)
	}
	if byToken != requests || byModel != requests || requestsByHour != requests {
		return fmt.Errorf("requests: got %v by token, %v by model, %v by hour, want %v", byToken, byModel, requestsByHour, requests)
	}
	return nil
}

func sum(a, b stats.AttemptCounts) stats.AttemptCounts {
	for i, n := range b {
		a[i] += n
	}
	return a
}

func sumRequests(a, b stats.RequestCounts) stats.RequestCounts {
	for i, n := range b {
		a[i] += n
	}
	return a
}

func newStatsFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.db")
	if err := CreateStats(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func openStatsFile(t *testing.T, path string) *Stats {
	t.Helper()
	s, err := OpenStats(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkStatsFile opens the file as a new process would, compares everything, and closes it again.
func checkStatsFile(t *testing.T, path string) map[pool.NodeID]uint64 {
	t.Helper()
	s := openStatsFile(t, path)
	defer s.Close()
	c, err := stats.New(s, time.Now, stats.Log(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkLedger(c, time.Now()); err != nil {
		t.Fatal(err)
	}
	last := map[pool.NodeID]uint64{}
	for _, node := range ledgerNodes {
		last[node] = c.LastSeq(node, 1)
	}
	return last
}
