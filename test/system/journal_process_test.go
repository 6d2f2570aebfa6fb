package system

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// journalled starts a control plane, and a node behind a cable with these flags besides its own.
func journalled(t *testing.T, flags ...string) (*fleet, *cable, func()) {
	t.Helper()
	f := processes(t)
	w := newCable(t, f.port("control"))
	start := func() {
		f.startNode("eu-1@eu-west", append([]string{"--control-plane", w.listener.Addr().String()}, flags...)...)
	}
	start()
	for n := range 3 {
		f.addKey(secret(n), fakellm.Behaviour{Delay: 10 * time.Millisecond})
	}
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	return f, w, start
}

func seeded(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if s, err := strconv.ParseUint(os.Getenv("APIPOOL_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

func within(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// A data plane with a journal is killed under load, sometimes again while it reports for its predecessor, sometimes after the
// control plane has committed what it could not confirm, sometimes with the control plane. Everything counts once.
func TestProcessAJournalOutlivesKills(t *testing.T) {
	kills, clients := 4, 6
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		kills, clients = 30, 16
	}
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		kills = n
	}
	rnd, seed := seeded(t)
	f, w, start := journalled(t, "--journal")
	f.refused(w)
	a := newAskers(f, "eu-1", clients)
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() { defer close(asked); a.run(ctx, 0) }()
	again, unheard := 0, 0
	for n := range kills {
		f.linked("eu-1")
		time.Sleep(within(rnd, 300*time.Millisecond, 1300*time.Millisecond))
		switch n % 5 {
		case 1: // the next process does not live long either
			f.nodes["eu-1"].kill()
			for range 2 {
				start()
				time.Sleep(within(rnd, 0, 400*time.Millisecond))
				f.nodes["eu-1"].kill()
				again++
			}
		case 2: // committed, and the acknowledgements are lost
			w.deaf.Store(true)
			time.Sleep(500 * time.Millisecond) // what was on its way has arrived
			before := f.stats().TotalRequests
			time.Sleep(2500 * time.Millisecond)
			if f.stats().TotalRequests > before {
				unheard++
			}
			f.nodes["eu-1"].kill()
			w.mend()
		case 3: // both
			f.control.kill()
			time.Sleep(within(rnd, 0, 2*time.Second))
			f.nodes["eu-1"].kill()
			f.startControl()
		default:
			f.nodes["eu-1"].kill()
		}
		start()
		f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	}
	time.Sleep(time.Second) // all ask once more
	stop()
	<-asked
	r := a.reckon()
	report(t, r.wrong)
	if kills >= 3 && unheard == 0 {
		t.Error("nothing was committed whose acknowledgement was lost: the story shows less than it says")
	}
	figure(t, seed, "journal", "%d kills, %d more while starting, %d with lost acknowledgements: %d requests of %d clients; %d lost, %d doubled, "+
		"%d of unknown end, %d broke off before the upstream", kills, again, unheard, a.asked(), clients, r.lost, r.doubled, r.unknown, r.unsure)
}

// refused starts another data plane in the running one's data directory: it must not report a journal that goes on.
func (f *fleet) refused(w *cable) {
	f.t.Helper()
	p := f.start("second", "dataplane", []string{
		"--data-dir", f.path("eu-1"), "--control-plane", w.listener.Addr().String(), "--listen", f.port("second"),
		"--ops-listen", f.port("second-ops"), "--node-id", "eu-1", "--region", "eu-west", "--journal",
	})
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
	}
	if p.end() == 0 || !strings.Contains(f.logOf(f.t, "second"), "another process uses this journal") {
		f.t.Error("a second data plane starts in the data directory of a running one")
	}
}

// And without a journal the same judge finds something missing, and nothing twice: a data plane is disposable.
func TestProcessWithoutAJournalAKillLosesTheLastMoments(t *testing.T) {
	rnd, seed := seeded(t)
	f, _, start := journalled(t)
	a := newAskers(f, "eu-1", 6)
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() { defer close(asked); a.run(ctx, 0) }()
	time.Sleep(within(rnd, 1500*time.Millisecond, 2500*time.Millisecond))
	before := a.asked()
	f.nodes["eu-1"].kill()
	start()
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	time.Sleep(time.Second)
	stop()
	<-asked
	r := a.reckon()
	if r.lost == 0 {
		t.Error("nothing is lost without a journal: the judge cannot tell")
	}
	if r.doubled != 0 {
		report(t, r.wrong)
	}
	figure(t, seed, "no journal", "one kill after %d requests: %d requests, successes and attempts lost, %d doubled", before, r.lost, r.doubled)
}

// A backup of the control plane is put back while a killed node's journal holds what nobody has heard. What was confirmed since
// the backup is gone, and nothing else; what the journal holds counts once. The backup knows an older life of the node, so the
// next one may get an epoch that was there before.
func TestProcessAJournalMeetsARestoredBackup(t *testing.T) {
	if os.Getenv("APIPOOL_TEST_FAULTS") == "" {
		t.Skip("one of the longer suites: make test-faults")
	}
	for name, lives := range map[string]int{"of the same life": 0, "of an older life": 1, "of a much older life": 3} {
		t.Run(name, func(t *testing.T) {
			f, _, start := journalled(t, "--journal")
			f.restored = true
			a := newAskers(f, "eu-1", 4)
			ask := func(each int) { a.run(t.Context(), each) }
			restart := func() {
				start()
				f.wait("http://" + f.port("eu-1-ops") + "/readyz")
				f.linked("eu-1")
			}
			counted := func(what string, want int) {
				t.Helper()
				if s := f.settle(); int(s.TotalRequests) != want || int(s.SuccessCount) != want || int(s.UpstreamAttempts) != want {
					t.Errorf("%s: %v requests, %v successes and %v attempts, want %d", what, s.TotalRequests, s.SuccessCount, s.UpstreamAttempts, want)
				}
			}
			ask(5)
			counted("before the backup", 20)
			f.control.end()
			copyFolder(t, f.path("control"), f.path("backup"))
			f.startControl()
			f.linked("eu-1")
			for range lives {
				f.nodes["eu-1"].kill()
				restart()
			}
			ask(8)
			counted("confirmed, and then lost", 52)
			f.control.end()
			ask(10)
			time.Sleep(2500 * time.Millisecond) // some are sealed
			ask(1)
			f.nodes["eu-1"].kill()
			if err := os.RemoveAll(f.path("control")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(f.path("backup"), f.path("control")); err != nil {
				t.Fatal(err)
			}
			f.startControl()
			start() // and is killed before it has reported much
			f.wait("http://" + f.port("eu-1-ops") + "/readyz")
			ask(3)
			f.nodes["eu-1"].kill()
			restart()
			ask(2)
			counted("after the restore", 20+44+12+8)
			f.nodes["eu-1"].kill() // and whoever comes later finds nothing to add
			restart()
			counted("after one more kill", 20+44+12+8)
			if left, _ := filepath.Glob(f.path("eu-1") + "/journal/*"); len(left) == 0 {
				t.Error("there is no journal: the story shows nothing")
			}
		})
	}
}
