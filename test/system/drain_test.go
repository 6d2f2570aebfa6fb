package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	controlplane "ollama-api-pool/controlplane/server"
	"ollama-api-pool/test/fakellm"
)

func (c *cluster) wantDraining(why string, want bool) {
	c.t.Helper()
	got := c.get("http://eu-1-ops/readyz")
	if draining := got.status == 503 && strings.Contains(got.body, "draining"); draining != want || got.ok() == want {
		c.t.Errorf("%s: /readyz says %v", why, got)
	}
}

func TestANodeThatIsDrainedTakesNothingNewUntilItIsResumed(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey(secret(0), long)
		token := c.addToken("drain")
		running := c.begin("eu-1", token, "running")
		time.Sleep(2 * time.Second)
		c.admin("POST", "/admin/nodes/eu-1:drain", "{}", nil)
		c.wantDraining("drained", true)
		refused := c.chat("eu-1", token, "late", false)
		if refused.status != 503 || refused.header.Get("Retry-After") == "" || !strings.Contains(refused.body, `"draining"`) {
			t.Errorf("a new request: %v", refused)
		}
		var node struct{ State string }
		if c.admin("GET", "/admin/nodes/eu-1", "", &node); node.State != "draining" {
			t.Errorf("the node is %q", node.State)
		}
		if got := <-running; !got.ok() || !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
			t.Errorf("what was running ended with %d %v", got.status, got.err)
		}
		c.stopControl()
		c.wantDraining("without its control plane", true)
		c.startControl()
		time.Sleep(15 * time.Second)
		c.wantDraining("with its control plane back", true)
		c.stopNode("eu-1")
		c.startNode("eu-1@eu-west")
		time.Sleep(15 * time.Second)
		c.wantDraining("as a new process", true)

		c.net.sever("eu-1", "control")
		time.Sleep(time.Second)
		c.admin("POST", "/admin/nodes/eu-1:resume", "{}", nil)
		c.wantDraining("resumed, but out of reach", true)
		c.net.mend("eu-1", "control")
		time.Sleep(30 * time.Second)
		c.wantDraining("in reach again", false)
		c.behave(secret(0), fakellm.Behaviour{})
		if got := c.chat("eu-1", token, "after", false); !got.ok() {
			t.Errorf("after the drain: %v", got)
		}
		for _, how := range []string{"drain", "resume"} { // told at once
			c.admin("POST", "/admin/nodes/eu-1:"+how, "{}", nil)
			c.wantDraining(how, how == "drain")
		}
		if seen := len(fakellm.Attempts(c.upstream.Ledger())); seen != 2 {
			t.Errorf("the upstream saw %d requests, want 2", seen)
		}
	})
}

func TestAnEvictedNodeWipesStopsAndIsNotLetInAgain(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "eu-2@eu-west", "eu-3@eu-west"}, func(c *cluster) {
		for _, id := range []string{"eu-1", "eu-2", "eu-3"} {
			c.ready(id)
		}
		c.addKey(secret(0), long)
		token := c.addToken("evict")
		running := c.begin("eu-1", token, "running")
		time.Sleep(2 * time.Second)
		var r receipt
		c.admin("POST", "/admin/nodes/eu-1:evict", "{}", &r)
		if fmt.Sprint(r.Receipt.Acknowledged) != "[eu-1]" {
			t.Errorf("the receipt is %+v", r)
		}
		ended := func(id string) {
			t.Helper()
			select {
			case err := <-c.nodes[id].done:
				if err == nil || !strings.Contains(err.Error(), "evicted") {
					t.Errorf("%s ended with %v", id, err)
				}
				delete(c.nodes, id)
			case <-time.After(time.Minute):
				t.Errorf("%s goes on", id)
			}
		}
		ended("eu-1")
		if got := <-running; got.err == nil {
			t.Errorf("what was running ended well: %d", got.status)
		}
		time.Sleep(time.Second) // the upstream is about to notice
		if e := c.entryOf("running"); e.Outcome != fakellm.Canceled {
			t.Errorf("what was running is %q at the upstream", e.Outcome)
		}
		c.startNode("eu-1@eu-west") // with the certificate that it has
		ended("eu-1")
		if err := os.RemoveAll(filepath.Join(c.dir, "eu-1")); err != nil {
			t.Fatal(err)
		}
		c.startNode("eu-1@eu-west") // as a stranger of that name
		time.Sleep(15 * time.Second)
		if got := c.get("http://eu-1-ops/readyz"); got.ok() || !strings.Contains(got.body, "has been evicted") {
			t.Errorf("a stranger under its name: %v", got)
		}
		c.net.sever("eu-2", "control")
		time.Sleep(time.Second)
		r = receipt{}
		c.admin("POST", "/admin/nodes/eu-2:evict", "{}", &r)
		if len(r.Receipt.Unreachable) != 1 || r.Receipt.Unreachable[0].Node != "eu-2" || r.Receipt.Unreachable[0].StopsBy == "" {
			t.Errorf("the receipt of a node that is out of reach is %+v", r)
		}
		c.behave(secret(0), fakellm.Behaviour{})
		if got := c.chat("eu-2", token, "not told", false); !got.ok() {
			t.Errorf("it cannot know yet: %v", got)
		}
		c.net.mend("eu-2", "control")
		ended("eu-2")
		c.stopControl()
		c.startControl() // it stays so
		c.startNode("eu-2@eu-west")
		ended("eu-2")
		c.ready("eu-3")
		if got := c.chat("eu-3", token, "others", false); !got.ok() {
			t.Errorf("the node that nobody evicted: %v", got)
		}
	})
}

// heir starts a control plane of a later term from a copy of the first one's data, at the address where nodes connect.
func (c *cluster) heir(copied string) *running {
	c.t.Helper()
	start := func(nodes net.Listener) *running {
		s, err := controlplane.New(c.t.Context(), controlplane.Config{
			DataDir: copied, AdminToken: adminToken, JoinToken: joinToken, NodeListener: nodes,
			AdminListener: c.net.listen("admin-2"), Logger: c.logs.logger("heir"),
		})
		if err != nil {
			c.t.Fatal(err)
		}
		return c.run(s.Run)
	}
	for range 2 {
		r := start(c.net.listen("nowhere"))
		r.stop()
		if err := <-r.done; err != nil {
			c.t.Fatal(err)
		}
	}
	return start(c.net.listen("control"))
}

// A control plane that stops tells its nodes, and they have a session with the one that has taken its place before they leave
// the old one: at no moment is a node without.
func TestNodesMoveToAnotherControlPlaneBeforeTheOldOneIsGone(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west", "eu-2@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.ready("eu-2")
		id := c.addKey(secret(0), long)
		token := c.addToken("move")
		time.Sleep(5 * time.Second)
		c.stopControl()
		copied := filepath.Join(c.dir, "heir")
		copyFolder(t, filepath.Join(c.dir, "control"), copied)
		c.startControl()
		time.Sleep(30 * time.Second)
		running := c.begin("eu-1", token, "running")
		time.Sleep(time.Second)
		heir := c.heir(copied)
		mark := len(c.logs.String())
		c.stopControl()
		said := c.logs.String()[mark:]
		if n := strings.Count(said, `msg="session opened" who=heir`); n != 2 {
			t.Errorf("%d nodes are at the new control plane when the old one has gone, want 2", n)
		}
		if strings.Contains(said, "out of reach") {
			t.Errorf("a node was without a control plane:\n%s", said)
		}
		c.base = "http://admin-2"
		var r receipt
		c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"force":true,"cancelInFlight":true}`, id), &r)
		if got := fmt.Sprint(r.Receipt.Acknowledged); got != "[eu-1 eu-2]" {
			t.Errorf("a disable right after is acknowledged by %s", got)
		}
		c.wantCutOff("running", <-running, time.Now().Add(time.Second))
		c.client.CloseIdleConnections()
		for _, node := range []string{"eu-1", "eu-2"} {
			c.stopNode(node)
		}
		heir.stop()
		if err := <-heir.done; err != nil {
			t.Error(err)
		}
	})
}

// Without another control plane nodes keep the session they have for as long as it lasts: what an operator's last call changes
// still reaches them.
func TestAControlPlaneThatStopsKeepsItsNodesInTouch(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		id := c.addKey(secret(0), fakellm.Behaviour{})
		token := c.addToken("stop")
		control := c.control
		control.stop()
		time.Sleep(time.Millisecond)
		if said := c.logs.String(); !strings.Contains(said, "the control plane is about to stop") {
			t.Error("the node has not been told: this proves nothing")
		}
		c.net.mu.Lock()
		open := len(c.net.conns["eu-1→control"])
		c.net.mu.Unlock()
		if open == 0 || strings.Contains(c.logs.String(), "control plane out of reach") {
			t.Error("the session is over at once")
		}
		if err := <-control.done; err != nil {
			t.Error(err)
		}
		c.control = nil
		if got := c.chat("eu-1", token, "r1", false); !got.ok() {
			t.Errorf("without a control plane: %v", got)
		}
		c.startControl()
		time.Sleep(15 * time.Second)
		var r receipt
		c.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"id":%q,"force":true}`, id), &r)
		if got := fmt.Sprint(r.Receipt.Acknowledged); got != "[eu-1]" {
			t.Errorf("with the control plane back a disable is acknowledged by %s", got)
		}
	})
}

// The control plane is stopped and started again under streams: no client notices.
func TestProcessControlPlaneIsStoppedUnderStreams(t *testing.T) {
	f := processes(t, "eu-1@eu-west", "us-1@us-east")
	for n := range 4 {
		f.addKey(secret(n), fakellm.Behaviour{Chunks: 20, ChunkInterval: 20 * time.Millisecond})
	}
	l := &load{f: f, token: f.addToken("load"), nodes: []string{"eu-1", "us-1"}, pause: time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, 8, 0) }()
	stops := 2
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		stops = 20
	}
	for range stops {
		time.Sleep(500 * time.Millisecond)
		if code := f.control.end(); code != 0 {
			t.Errorf("it ended with code %d", code)
		}
		f.startControl()
	}
	time.Sleep(500 * time.Millisecond)
	stop()
	<-done
	l.wantNoErrors()
	f.compare(f.upstream.Ledger(), l)
}

// A twin of a node, and then an eviction: each ends the process that is put out, with the reason as its last word.
func TestProcessFencedAndEvictedNodesExit(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	f.addKey(secret(0), fakellm.Behaviour{})
	token := f.addToken("twin")
	exits := func(id, why string) {
		t.Helper()
		p := f.nodes[id]
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s goes on", id)
		}
		said, _ := os.ReadFile(f.path(id + ".log"))
		if code := p.cmd.ProcessState.ExitCode(); code == 0 || !strings.Contains(string(said), why) {
			t.Errorf("%s ended with code %d without saying %q", id, code, why)
		}
		delete(f.nodes, id)
	}
	copyFolder(t, f.path("eu-1"), f.path("twin"))
	f.startNode("twin@eu-west")
	f.wait("http://" + f.port("twin-ops") + "/readyz")
	exits("eu-1", "has been fenced")
	if got := f.chat("twin", token); !got.ok() {
		t.Errorf("the younger twin answers %v", got)
	}
	var r receipt
	f.admin("POST", "/admin/nodes/eu-1:evict", "{}", &r)
	if fmt.Sprint(r.Receipt.Acknowledged) != "[eu-1]" {
		t.Errorf("the receipt is %+v", r)
	}
	exits("twin", "has been evicted")
	f.startNode("twin@eu-west")
	exits("twin", "has been evicted")
}
