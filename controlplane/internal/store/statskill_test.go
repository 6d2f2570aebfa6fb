package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

// killedStats names the file to the child process of TestStatsKill.
const killedStats = "APIPOOL_TEST_STATS_FILE"

// TestStatsKillChild is the process that gets killed: it commits ticks and checkpoints as fast as it can, and says which
// batches are acknowledged and which health is saved.
func TestStatsKillChild(t *testing.T) {
	path := os.Getenv(killedStats)
	if path == "" {
		t.Skip("runs as a child process only")
	}
	s := openStatsFile(t, path)
	var mu sync.Mutex
	out := pool.Health{Key: 1, Generation: 1, Phase: pool.Cooling, Reason: pool.RateLimited, Until: time.Unix(2e9, 0).UTC()}
	c, err := stats.New(s, time.Now, stats.TickEvery(2*time.Millisecond), stats.CheckpointEvery(10*time.Millisecond),
		stats.ChunkRows(3), stats.SaveHealth(func() []pool.Health {
			mu.Lock()
			defer mu.Unlock()
			return []pool.Health{out}
		}, func(saved []pool.Health) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = fmt.Printf("health %d\n", saved[0].Generation)
			out.Generation++
		}))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range c.Health() {
		out.Generation = h.Generation + 1
	}
	for _, node := range ledgerNodes {
		go reportLedger(c, node)
	}
	t.Fatal(c.Run(context.Background()))
}

// reportLedger keeps four batches of a node under way, as a node does.
func reportLedger(c *stats.Collector, node pool.NodeID) {
	window := make(chan stats.Receipt, 4)
	go func() {
		for r := range window {
			ack, err := r.Wait(context.Background())
			if err != nil {
				panic(err)
			}
			_, _ = fmt.Printf("%s %d\n", node, ack.Committed)
		}
	}()
	for seq := c.LastSeq(node, 1) + 1; ; seq++ {
		window <- c.Submit(ledgerBatch(node, seq, time.Now()))
	}
}

// TestStatsKill kills a process at random times: what it acknowledged is kept, and everything kept was counted once.
func TestStatsKill(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	told := map[string]uint64{}
	for range 10 {
		killStats(t, path, time.Duration(20+rand.IntN(150))*time.Millisecond, told)
		kept := checkStatsFile(t, path)
		for _, node := range ledgerNodes {
			if kept[node] < told[string(node)] {
				t.Fatalf("%s: got %d kept, but %d was acknowledged", node, kept[node], told[string(node)])
			}
		}
		s := openStatsFile(t, path)
		loaded, err := s.LoadStats(func(stats.Row) error { return nil })
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if len(loaded.Health) != 1 || loaded.Health[0].Generation < told["health"] {
			t.Fatalf("got health %v, but %d was saved", loaded.Health, told["health"])
		}
	}
	if told["ams-1"] < 20 || told["health"] < 20 {
		t.Errorf("got only %v told in ten lives", told)
	}
	t.Log(told)
}

// killStats runs the child, kills it after a time since its first word, and notes the last word on each subject.
func killStats(t *testing.T, path string, after time.Duration, told map[string]uint64) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStatsKillChild$")
	cmd.Env = append(os.Environ(), killedStats+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // a line that was cut by the kill said nothing
			break
		}
		var subject string
		var n uint64
		if _, err := fmt.Sscan(line, &subject, &n); err != nil {
			t.Errorf("the child says %q", strings.TrimSpace(line))
			continue
		}
		told[subject] = max(told[subject], n)
		once.Do(func() { time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) })
	}
	_ = cmd.Wait()
}
