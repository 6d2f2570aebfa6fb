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
)

// crashDir names the data directory to the child process of TestKilledProcessKeepsItsWord.
const crashDir = "APIPOOL_TEST_CRASH_DIR"

// TestCrashChild is the process that gets killed. It says "ack" of what was promised, in one write each.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("runs as a child process only")
	}
	s, err := Open(quiet(dir))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Printf("opened %d\n", s.Term())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				name := fmt.Sprintf("%d-%d-%d", s.Term(), w, n)
				revision, err := s.Update(context.Background(), putPair(name))
				if err != nil {
					panic(err)
				}
				_, _ = fmt.Printf("ack %s %d\n", name, revision)
			}
		})
	}
	wg.Wait()
}

// putPair puts a key and a token, which must be there both or not at all.
func putPair(name string) func(tx *Tx) error {
	return func(tx *Tx) error {
		k := aKey(0)
		k.Label, k.Secret = name, pool.NewSecret("sk-CANARY-"+name)
		token := aToken(0)
		token.Name, token.Hash = name, [32]byte(fmt.Appendf(nil, "%-32s", name))
		_, err := tx.PutKey(k)
		_, err2 := tx.PutToken(token)
		return errors.Join(err, err2)
	}
}

func TestKilledProcessKeepsItsWord(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	acked := map[string]uint64{}
	const kills = 10
	for term := 1; term <= kills; term++ {
		runAndKill(t, o.Dir, time.Duration(20+random.IntN(280))*time.Millisecond, func(line string) {
			var name string
			var n uint64
			if _, err := fmt.Sscanf(line, "opened %d", &n); err == nil {
				same(t, "term", n, uint64(term))
			}
			if _, err := fmt.Sscanf(line, "ack %s %d", &name, &n); err == nil {
				acked[name] = n
			}
		})
	}

	s := openConfig(t, o)
	same(t, "term", s.Term(), uint64(kills+1))
	pairs := map[string]int{}
	view(t, s, func(tx *Tx) error {
		for k, err := range tx.Keys() {
			if err != nil || k.Secret.Reveal() != "sk-CANARY-"+k.Label {
				t.Errorf("key %v: %v", k.Label, err)
			}
			pairs[k.Label] += 1
		}
		for token, err := range tx.Tokens() {
			if err != nil {
				t.Error(err)
			}
			pairs[token.Name] += 2
		}
		return nil
	})
	for name, revision := range acked {
		if pairs[name] == 0 || revision > s.Revision() {
			t.Errorf("%s was acknowledged with revision %d of %d and is gone", name, revision, s.Revision())
		}
	}
	for name, n := range pairs {
		if n != 3 {
			t.Errorf("%s is there by half (%d)", name, n)
		}
	}
	if len(acked) < kills {
		t.Errorf("only %d acknowledged: nothing was proven", len(acked))
	}
	t.Logf("%d acknowledged, %d stored, over %d kills", len(acked), len(pairs), kills)
	reopen(t, o, s)
}

// runAndKill runs the child for a while after it has opened the store, kills it, and passes on the whole lines it wrote.
func runAndKill(t *testing.T, dir string, after time.Duration, line func(string)) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCrashChild$", "-test.v=false")
	child.Env = append(os.Environ(), crashDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	opened := false
	for {
		text, err := lines.ReadString('\n')
		if err != nil { // what is left of the last line promises nothing
			break
		}
		line(strings.TrimSpace(text))
		if !opened && strings.HasPrefix(text, "opened") {
			opened = true
			time.AfterFunc(after, func() { _ = child.Process.Kill() })
		}
	}
	if err := child.Wait(); err == nil || !opened {
		t.Fatalf("the child ended by itself: opened %v, %v", opened, err)
	}
}
