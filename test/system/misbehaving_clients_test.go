package system

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// crowd is a node under clients that misbehave, with honest ones beside them.
type crowd struct {
	*fleet
	node     string // where the honest and the others are
	token    string
	streams  *streamer
	patience bool // to wait until the node gives up by itself
}

// misbehaviours are what clients do, and what must come of it. What they hold is let go of when they return.
var misbehaviours = []struct {
	why string
	act func(*testing.T, *crowd)
}{
	{"headers that never end", slowHeaders},
	{"bodies that trickle", slowBodies},
	{"answers that nobody reads", slowReaders},
	{"hang-ups in the middle of a stream", hangUps},
	{"connections that say nothing more", idleConnections},
	{"pipelining", pipelining},
	{"bodies that are too large", oversizedBodies},
	{"wrong tokens", wrongTokens},
}

// While some misbehave, all honest clients are served, and afterwards nothing is left over at the node. How fast is a
// figure. The longer suite waits until the node gives up on the slow ones by itself.
func TestProcessClientsThatMisbehave(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	for n := range 3 {
		f.addKey(secret(n), fakellm.Behaviour{})
	}
	c := &crowd{fleet: f, node: "eu-1", token: f.addToken("crowd"), streams: &streamer{}, patience: os.Getenv("APIPOOL_TEST_FAULTS") != ""}
	f.stream(t, c.streams)
	base := "http://" + f.port("eu-1")
	warm := serveHonest(t, c.token, base)
	time.Sleep(time.Second)
	warm.end(t, "peace")
	c.awaitStreams(t)
	before := f.rest("eu-1")
	for _, m := range misbehaviours {
		t.Run(m.why, func(t *testing.T) {
			h := serveHonest(t, c.token, base)
			m.act(t, c)
			h.end(t, m.why)
			f.wantNothingLeft("eu-1", before)
		})
	}
	if m := f.get("http://" + f.port("eu-1-ops") + "/metrics").body; metric(m, "apipool_panics_total") != 0 {
		t.Errorf("a panic: %s", grep(m, "apipool_panics_total"))
	}
	f.scan(c.token)
}

// awaitStreams waits until the node knows the provider of streams and its key.
func (c *crowd) awaitStreams(t *testing.T) {
	t.Helper()
	for range 200 {
		w := open(t, c.port(c.node))
		_ = w.say(post("/streams/v1/chat/completions", c.token, askFor("drip", "ready")))
		_ = w.SetReadDeadline(time.Now().Add(5 * time.Second))
		status, _ := w.in.ReadString('\n')
		_ = w.Close()
		if strings.Contains(status, " 200 ") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("no stream is served")
}

// each has so many connections do the same at once.
func (c *crowd) each(t *testing.T, n int, do func(n int, w *wire)) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			w, err := dial(c.port(c.node))
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			do(i, w)
		})
	}
	wg.Wait()
}

func slowHeaders(t *testing.T, c *crowd) {
	c.each(t, 100, func(_ int, w *wire) {
		if err := w.say("POST /v1/chat/completions HTTP/1.1\r\nHost: pool\r\nX-Slow: "); err != nil {
			t.Error(err)
		}
		for range 300 {
			if w.say("x") != nil {
				return // given up, as it should be
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("headers may take half a minute")
	})
}

func slowBodies(t *testing.T, c *crowd) {
	seconds := 3
	if c.patience {
		seconds = 90
	}
	c.each(t, 50, func(_ int, w *wire) {
		text := post("/v1/chat/completions", c.token, strings.Repeat(" ", 1000))
		if err := w.say(text[:len(text)-1000]); err != nil {
			t.Error(err)
		}
		answered := make(chan int, 1)
		go func() {
			status, _ := w.answer(2 * time.Minute)
			answered <- status
		}()
		for range seconds {
			_ = w.say(" ")
			select {
			case status := <-answered:
				if status != 408 {
					t.Errorf("a body that trickles is answered with %d", status)
				}
				return
			case <-time.After(time.Second):
			}
		}
		if c.patience {
			t.Error("a body may trickle for a minute and a half")
		}
		_ = w.Close()
		<-answered
	})
}

func slowReaders(t *testing.T, c *crowd) {
	const n = 20
	c.each(t, n, func(i int, w *wire) {
		_ = w.SetReadBuffer(4 << 10)
		if err := w.say(post("/streams/v1/chat/completions", c.token, askFor("flood", fmt.Sprint("deaf-", i)))); err != nil {
			t.Error(err)
		}
		if !c.patience {
			time.Sleep(3 * time.Second)
			return
		}
		for range 150 {
			time.Sleep(time.Second)
			if c.streams.leftAt(fmt.Sprint("deaf-", i)).IsZero() {
				continue
			}
			return // the node has given up, and the upstream knows
		}
		t.Error("an answer that nobody reads is not given up within two and a half minutes")
	})
	c.wantLeft(t, "deaf-", n)
}

func hangUps(t *testing.T, c *crowd) {
	const n = 100
	gone := make([]time.Time, n)
	c.each(t, n, func(i int, w *wire) {
		if err := w.say(post("/streams/v1/chat/completions", c.token, askFor("drip", fmt.Sprint("gone-", i)))); err != nil {
			t.Error(err)
		}
		_ = w.SetReadDeadline(time.Now().Add(20 * time.Second))
		for seen := 0; seen < 3; {
			text, err := w.in.ReadSlice('\n')
			if err != nil {
				t.Errorf("stream %d: %v", i, err)
				return
			}
			if _, _, ok := numberOf(text); ok {
				seen++
			}
		}
		gone[i] = time.Now()
	})
	c.wantLeft(t, "gone-", n)
	var took []time.Duration
	for i, at := range gone {
		took = append(took, c.streams.leftAt(fmt.Sprint("gone-", i)).Sub(at))
	}
	median, longest := spread(took)
	figure(t, "none", "from a hang-up until the upstream is canceled", "median %v, longest %v", median.Round(time.Microsecond), longest.Round(time.Microsecond))
}

// wantLeft waits until the upstream has noticed that all these streams' clients are gone.
func (c *crowd) wantLeft(t *testing.T, name string, n int) {
	t.Helper()
	missing := n
	for range 200 {
		missing = 0
		for i := range n {
			if c.streams.leftAt(fmt.Sprint(name, i)).IsZero() {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("the upstream still sends %d of %d streams that nobody wants", missing, n)
}

func (s *streamer) leftAt(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left[name]
}

func idleConnections(t *testing.T, c *crowd) {
	const n = 3000
	before := c.nodes[c.node].resident(t)
	for i := range n {
		w := open(t, c.port(c.node))
		defer w.Close()
		if err := w.say("GET /health HTTP/1.1\r\nHost: pool\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if status, said := w.answer(20 * time.Second); status != 200 {
			t.Fatalf("connection %d: %d %s", i, status, said)
		}
	}
	if m := c.remains(c.node); m.connections < n {
		t.Errorf("%d connections are open: this proves nothing", m.connections)
	}
	figure(t, "none", "memory of an idle connection", "%d bytes (%d connections)", (c.nodes[c.node].resident(t)-before)/n, n)
}

func pipelining(t *testing.T, c *crowd) {
	c.each(t, 20, func(i int, w *wire) {
		const n = 20
		var all strings.Builder
		for k := range n {
			all.WriteString(post("/v1/chat/completions", c.token,
				fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"pipe-%d-%d"}]}`, fakellm.DefaultModel, i, k)))
		}
		if err := w.say(all.String()); err != nil {
			t.Error(err)
		}
		for k := range n {
			status, said := w.answer(20 * time.Second)
			if want := fakellm.Answer(fmt.Sprintf("pipe-%d-%d", i, k)); status != 200 || contentOf(said, false) != want {
				t.Errorf("answer %d on connection %d is %d %.200s, want %q", k, i, status, said, want)
				return
			}
		}
	})
}

func oversizedBodies(t *testing.T, c *crowd) {
	c.each(t, 8, func(i int, w *wire) {
		head := "POST /v1/chat/completions HTTP/1.1\r\nHost: pool\r\nAuthorization: Bearer " + c.token + "\r\nContent-Type: application/json\r\n"
		if i%2 == 0 { // by its length alone
			_ = w.say(head + "Content-Length: 34603008\r\n\r\n{")
		} else { // in chunks that do not end
			_ = w.say(head + "Transfer-Encoding: chunked\r\n\r\n")
			go func() {
				for chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<20, strings.Repeat(" ", 1<<20)); w.say(chunk) == nil; {
				}
			}()
		}
		if status, said := w.answer(30 * time.Second); status != 413 && status != 503 {
			t.Errorf("a body that is too large (%d): %d %.200s", i, status, said)
		}
		if !w.ended(30 * time.Second) {
			t.Errorf("after a body that is too large (%d) more is read", i)
		}
	})
}

// wrongTokens guesses from the address that the honest come from too.
func wrongTokens(t *testing.T, c *crowd) {
	c.each(t, 20, func(i int, w *wire) {
		for n := range 50 {
			text := strings.Replace(post("/v1/chat/completions", fmt.Sprintf("sk-guess-%020d", i*100+n), "{}"), "POST /v1/chat/completions", "GET /v1/models", 1)
			if w.say(text) != nil {
				return
			}
			_ = w.SetReadDeadline(time.Now().Add(time.Second))
			status, err := w.in.ReadString('\n')
			if err != nil {
				return // an answer that is late; who guesses does not wait
			}
			if !strings.Contains(status, " 401 ") && !strings.Contains(status, " 429 ") && !strings.Contains(status, " 503 ") {
				t.Errorf("a guess is answered with %s", status)
			}
			_ = w.Close()
			if again, err := dial(c.port(c.node)); err == nil {
				*w = *again
			}
		}
	})
}
