package system

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// A node that may open 256 files is called by four hundred clients at once. Those that find no place wait for one; the node
// lives, keeps its link to the control plane, and has nothing left of it afterwards. Connections that are only held open
// keep nobody out.
func TestProcessDescriptorsRunOut(t *testing.T) {
	if _, err := exec.LookPath("prlimit"); err != nil {
		t.Skip("left out: no prlimit")
	}
	f := processes(t)
	f.under = []string{"prlimit", "--nofile=256"}
	f.startNode("eu-1@eu-west")
	f.under = nil
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	f.addKey(secret(0), fakellm.Behaviour{Delay: 100 * time.Millisecond, ChunkInterval: 20 * time.Millisecond})
	c := &crowd{fleet: f, node: "eu-1", token: f.addToken("files")}
	if got := f.chat("eu-1", c.token); !got.ok() {
		t.Fatal(got)
	}
	before := f.rest("eu-1")
	most := watchDescriptors(f, "eu-1")

	const clients = 400
	var served atomic.Int64
	begin := time.Now()
	c.each(t, clients, func(n int, w *wire) { // all have connected before any is served whole
		body := fmt.Sprintf(`{"model":%q,"stream":%v,"messages":[{"role":"user","content":"x"}]}`, fakellm.DefaultModel, n%2 == 0)
		if err := w.say(post("/v1/chat/completions", c.token, body)); err != nil {
			return
		}
		if status, _ := w.answer(60 * time.Second); status == 200 {
			served.Add(1)
		}
	})
	took := time.Since(begin)
	if served.Load() != clients {
		t.Errorf("%d of %d clients were served", served.Load(), clients)
	}

	held := make([]*wire, clients)
	for n := range held { // hold connections open, and say nothing more on those that are served
		w := open(t, f.port("eu-1"))
		held[n] = w
		_ = w.say("GET /health HTTP/1.1\r\nHost: pool\r\n\r\n")
		if status, said := w.answer(30 * time.Second); status != 200 {
			t.Errorf("connection %d that will be held open: %d %s", n, status, said)
		}
	}
	m := f.get("http://" + f.port("eu-1-ops") + "/metrics").body
	if metric(m, "apipool_client_connections") != metric(m, "apipool_client_connections_max") || metric(m, "apipool_client_connections_evicted_total") < 200 {
		t.Errorf("not all places are taken: this proves nothing\n%s", grep(m, "apipool_client_conn"))
	}
	begin = time.Now()
	if got := f.chat("eu-1", c.token); !got.ok() {
		t.Errorf("an honest client beside %d idle ones: %v", clients, got)
	}
	recovery := time.Since(begin)

	peak := most()
	if peak > 250 {
		t.Errorf("%d of 256 descriptors were in use", peak)
	}
	var node struct{ State string }
	f.admin("GET", "/admin/nodes/eu-1", "", &node)
	if ready := f.get("http://" + f.port("eu-1-ops") + "/readyz"); node.State != "live" || !ready.ok() {
		t.Errorf("the node is %q at the control plane, and says %v", node.State, ready)
	}
	if log := f.logOf(t, "eu-1"); strings.Contains(log, "link to the control plane lost") || strings.Contains(log, "too many open files") {
		t.Error("the node ran out of descriptors, or its link broke")
	}
	figure(t, "none", "256 descriptors and 400 clients", "%d served within %v, %d descriptors at most, an honest client afterwards in %v",
		served.Load(), took.Round(time.Millisecond), peak, recovery.Round(time.Millisecond))
	for _, w := range held {
		_ = w.Close()
	}
	f.wantNothingLeft("eu-1", before)
	f.scan(c.token)
}

// watchDescriptors counts a node's descriptors until the most there were is asked for.
func watchDescriptors(f *fleet, id string) (most func() int) {
	stop, peak := make(chan struct{}), make(chan int)
	go func() {
		high := 0
		for {
			high = max(high, f.descriptors(id))
			select {
			case <-stop:
				peak <- high
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int {
		close(stop)
		return <-peak
	}
}

// A node that may use 64 MiB bears five hundred streams and large bodies at once. What does not fit is refused and told when
// to come again; the streams do not notice.
func TestProcessLittleMemory(t *testing.T) {
	f := processes(t)
	f.env = []string{"GOMEMLIMIT=64MiB"}
	f.startNode("eu-1@eu-west")
	f.wait("http://" + f.port("eu-1-ops") + "/readyz")
	f.addKey(secret(0), fakellm.Behaviour{})
	const streams = 450 // and places are left for the large bodies
	s := &streamer{events: 5, pause: 500 * time.Millisecond}
	f.stream(t, s)
	c := &crowd{fleet: f, node: "eu-1", token: f.addToken("memory"), streams: s}
	c.awaitStreams(t)
	before := f.rest("eu-1")
	var running sync.WaitGroup
	running.Go(func() {
		c.each(t, streams, func(n int, w *wire) {
			name := fmt.Sprint("s-", n)
			_ = w.say(post("/streams/v1/chat/completions", c.token, askFor("count", name)))
			if _, err := readStream(w, name, s.events, func(int) {}); err != nil {
				t.Errorf("stream %s: %v", name, err)
			}
		})
	})
	for wait := 0; f.remains("eu-1").inFlight < streams && wait < 400; wait++ {
		time.Sleep(50 * time.Millisecond)
	}
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"x"}]`, fakellm.DefaultModel)
	body += strings.Repeat(" ", 8<<20-1-len(body)) + "}"
	var served, shed, cut, other atomic.Int64
	c.each(t, 40, func(_ int, _ *wire) {
		switch status, wait := large(t, c, body); {
		case status == 200:
			served.Add(1)
		case status == http.StatusServiceUnavailable && wait != "":
			shed.Add(1)
		case status == 0: // refused too, but the client was slow to look: half a second later the connection is reset
			cut.Add(1)
		default:
			other.Add(1)
		}
	})
	rss := f.nodes["eu-1"].resident(t)
	close(s.release)
	running.Wait()
	if status, _ := large(t, c, body); status != 200 {
		t.Errorf("a large body by itself is answered with %d", status)
	}
	if shed.Load() == 0 || other.Load() > 0 {
		t.Errorf("of 40 large bodies %d were served, %d refused with a time to come again, %d reset, %d otherwise",
			served.Load(), shed.Load(), cut.Load(), other.Load())
	}
	figure(t, "none", "memory of a node that may use 64 MiB", "%d MiB with %d streams; of 40 bodies of 8 MiB at once %d served, %d refused, %d reset",
		rss>>20, streams, served.Load(), shed.Load(), cut.Load())
	f.wantNothingLeft("eu-1", before)
	f.scan(c.token)
}

// large sends a large body and answers the status and when to come again; status 0: the connection was cut.
func large(t *testing.T, c *crowd, body string) (status int, wait string) {
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+c.port(c.node)+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	// With keep-alive: net/http closes at once on a client that says it will close, and the reset may overtake the answer.
	client := &http.Transport{}
	defer client.CloseIdleConnections()
	resp, err := client.RoundTrip(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("Retry-After")
}
