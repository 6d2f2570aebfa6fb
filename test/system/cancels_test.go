package system

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Thousands of requests, whole and streamed, most of which are given up somewhere on their way: before the head is
// complete, in the middle of the body, before or in the middle of the answer, or right after it. Whatever the node had taken
// for them is given back, and the control plane counts what was asked. The longer suite has ten thousand, and others each
// time; APIPOOL_TEST_SEED repeats a run.
func TestProcessRequestsThatAreGivenUpAnywhere(t *testing.T) {
	seed, total := uint64(1), int64(3000)
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		seed, total = rand.Uint64N(1<<20), 10_000
	}
	if s, err := strconv.ParseUint(os.Getenv("APIPOOL_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("seed %d", seed)
	f := processes(t)
	// A quarter of it is what bodies may take: just the largest one.
	f.env = []string{"GOMEMLIMIT=128MiB"}
	f.startNode("eu-1@eu-west")
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	for n := range 4 {
		f.addKey(secret(n), fakellm.Behaviour{Delay: time.Duration(n) * time.Millisecond, ChunkInterval: 2 * time.Millisecond})
	}
	g := &givers{fleet: f, token: f.addToken("given-up")}
	if status := g.largest(t); status != 200 {
		t.Fatalf("the largest body is answered with %d: this proves nothing", status)
	}
	before := f.rest("eu-1")

	var next atomic.Int64
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for i := next.Add(1); i <= total; i = next.Add(1) {
				g.one(t, rand.New(rand.NewPCG(seed, uint64(i))), int(i))
			}
		})
	}
	wg.Wait()
	f.wantNothingLeft("eu-1", before)
	if status := g.largest(t); status != 200 {
		t.Errorf("the largest body is answered with %d: memory for bodies has not been given back", status)
	}
	g.compare(t)
	figure(t, seed, "requests given up", "%d requests: %d whose head never came, %d cut in their body, %d before their answer, %d within it, %d right after, %d not at all",
		total, g.at[0].Load(), g.at[1].Load(), g.at[2].Load(), g.at[3].Load(), g.at[4].Load(), g.at[5].Load())
	f.scan(g.token)
}

// Where a request is given up.
const (
	inHead = iota
	inBody
	beforeAnswer
	inAnswer
	rightAfter
	nowhere
)

// givers are clients that give up, and what they know of it.
type givers struct {
	*fleet
	token  string
	at     [6]atomic.Int64
	asked  atomic.Int64 // heads that were sent whole: these count
	whole  atomic.Int64 // requests that were
	served atomic.Int64 // answers that came whole
}

func (g *givers) one(t *testing.T, r *rand.Rand, n int) {
	w, err := dial(g.port("eu-1"))
	if err != nil {
		t.Error(err)
		return
	}
	defer w.Close()
	stream, where := r.IntN(2) == 0, r.IntN(6)
	g.at[where].Add(1)
	text := post("/v1/chat/completions", g.token, fmt.Sprintf(`{"model":%q,"user":"g-%d","stream":%v,"messages":[{"role":"user","content":%q}]}`,
		fakellm.DefaultModel, n, stream, strings.Repeat("give up ", 1+r.IntN(40))))
	head := strings.Index(text, "\r\n\r\n") + 4
	switch where {
	case inHead:
		_ = w.say(text[:1+r.IntN(head-2)])
		return
	case inBody:
		g.asked.Add(1)
		_ = w.say(text[:head+r.IntN(len(text)-head)])
		return
	}
	g.asked.Add(1)
	g.whole.Add(1)
	if err := w.say(text); err != nil {
		t.Error(err)
		return
	}
	switch where {
	case beforeAnswer:
		time.Sleep(time.Duration(r.IntN(3000)) * time.Microsecond)
		return
	case inAnswer:
		_ = w.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.CopyN(io.Discard, w, 1+r.Int64N(400)); err != nil { // every answer is longer
			t.Errorf("request %d: %v", n, err)
		}
		return
	}
	status, said := w.answer(30 * time.Second)
	if status != 200 || stream && !strings.HasSuffix(said, "data: [DONE]\n\n") {
		t.Errorf("request %d is answered with %d %.200s", n, status, said)
		return
	}
	g.served.Add(1)
	if where == nowhere { // the connection goes on to serve
		if err := w.say("GET /health HTTP/1.1\r\nHost: pool\r\n\r\n"); err != nil {
			t.Error(err)
		}
		if status, said := w.answer(10 * time.Second); status != 200 {
			t.Errorf("after request %d: %d %s", n, status, said)
		}
	}
}

// largest sends the largest body there may be, which needs all the memory that bodies may have.
func (g *givers) largest(t *testing.T) int {
	const size = 32 << 20
	t.Helper()
	w := open(t, g.port("eu-1"))
	defer w.Close()
	text := fmt.Sprintf(`{"model":%q,"user":"largest-%d","messages":[{"role":"user","content":"x"}]`, fakellm.DefaultModel, g.asked.Load())
	text += strings.Repeat(" ", size-1-len(text)) + "}"
	g.asked.Add(1)
	g.whole.Add(1)
	if err := w.say(post("/v1/chat/completions", g.token, text)); err != nil {
		t.Error(err)
	}
	status, _ := w.answer(60 * time.Second)
	if status == 200 {
		g.served.Add(1)
	}
	return status
}

// compare holds the control plane's counts against what the clients know and what the upstream saw. Of requests that are
// given up between the two the clients cannot know how they ended; the counts must lie between the least and the most.
func (g *givers) compare(t *testing.T) {
	t.Helper()
	got := g.settle()
	saw := int64(len(fakellm.Attempts(g.upstream.Ledger())))
	if int64(got.TotalRequests) != g.asked.Load() {
		t.Errorf("counted %v requests, %d were asked", got.TotalRequests, g.asked.Load())
	}
	if got.SuccessCount+got.FailureCount > got.TotalRequests || int64(got.SuccessCount) < g.served.Load() || int64(got.SuccessCount) > g.whole.Load() {
		t.Errorf("counted %+v, and %d of %d whole requests were served", got, g.served.Load(), g.whole.Load())
	}
	if n := int64(got.UpstreamAttempts); n < saw || n > g.whole.Load() {
		t.Errorf("counted %d attempts, the upstream saw %d, %d requests were whole", n, saw, g.whole.Load())
	}
	report(t, fakellm.DoubleTries(g.upstream.Ledger()))
	if running := fakellm.InFlight(g.upstream.Ledger()); len(running) > 0 {
		t.Errorf("the upstream still serves %d", len(running))
	}
	figure(t, "see above", "counts after giving up", "%d requests asked, %v counted, %d attempts seen, %v counted, %d served for certain, %v counted",
		g.asked.Load(), got.TotalRequests, saw, got.UpstreamAttempts, g.served.Load(), got.SuccessCount)
}
