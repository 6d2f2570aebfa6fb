package system

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// A data plane with a journal is killed under load again and again: every attempt that the upstream saw is counted, and nothing
// twice but what had just begun and never got there. In the longer suites its control plane is killed too.
func TestProcessAJournalLosesNothing(t *testing.T) {
	kills := 5
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		kills = 30
	}
	counted, saw := killedWithJournal(t, kills, os.Getenv("APIPOOL_TEST_FAULTS") != "", true)
	t.Logf("journal: %d kills of a data plane: the upstream saw %d attempts, %d are counted", kills, saw, counted)
	if counted < saw || counted > saw+kills*journalClients {
		t.Errorf("the upstream saw %d attempts, %d are counted", saw, counted)
	}
}

// The control: if what was noted is gone, it must show.
func TestProcessWithoutItsJournalSomethingIsLost(t *testing.T) {
	if counted, saw := killedWithJournal(t, 5, false, false); counted >= saw {
		t.Errorf("the upstream saw %d attempts, %d are counted, and the journals are gone", saw, counted)
	}
}

const journalClients = 8

func killedWithJournal(t *testing.T, kills int, both, keep bool) (counted, saw int) {
	t.Helper()
	f := processes(t)
	f.startNode("eu-1@eu-west", "--journal")
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	for n := range 6 {
		f.addKey(secret(n), fakellm.Behaviour{})
	}
	l := &load{f: f, token: f.addToken("load"), nodes: []string{"eu-1"}, pause: time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, journalClients, 0) }()
	r := rand.New(rand.NewPCG(uint64(kills), 1))
	for n := range kills {
		time.Sleep(time.Duration(300+r.IntN(1200)) * time.Millisecond)
		f.nodes["eu-1"].kill()
		if both && n%3 == 0 {
			f.control.kill()
			f.startControl()
		}
		if !keep {
			if err := os.RemoveAll(filepath.Join(f.path("eu-1"), "journal")); err != nil {
				t.Fatal(err)
			}
		}
		f.startNode("eu-1@eu-west", "--journal")
		f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	}
	time.Sleep(time.Second)
	stop()
	<-done
	now := f.settle()
	return int(now.UpstreamAttempts), len(fakellm.Attempts(f.upstream.Ledger()))
}
