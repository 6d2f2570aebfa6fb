package system

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

var ollama = fakellm.Config{Dialect: fakellm.Ollama, KeepHeaders: true}

// freeze stops a process where it is; its connections stay open. thaw lets it go on.
func (p *process) freeze(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }) // before the fleet's own cleanup, which has to end it
}

func (p *process) thaw(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// A control plane that stands still for longer than a lease, with all connections open: nodes serve, notice it by its silence,
// and are back with one session each when it goes on. The longer suites take 90 s.
func TestProcessControlPlaneStandsStill(t *testing.T) {
	lease, still := 6*time.Second, 7*time.Second
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		lease, still = time.Minute, 90*time.Second
	}
	nodes := []string{"eu-1", "us-1"}
	f := processesSet(t, ollama, []string{"APIPOOL_LEASE_TTL=" + lease.String()}, "eu-1@eu-west", "us-1@us-east")
	for n := range 4 {
		f.addKey(secret(n), fakellm.Behaviour{})
	}
	l := &load{f: f, token: f.addToken("load"), nodes: nodes, pause: 20 * time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.run(ctx, 4, 0) }()
	time.Sleep(lease / 6)
	before := f.sessionsOf(nodes)
	begin := time.Now()
	f.control.freeze(t)
	noticed := map[string]time.Duration{}
	for time.Since(begin) < still {
		time.Sleep(20 * time.Millisecond)
		for _, id := range nodes {
			if noticed[id] == 0 && strings.Contains(f.get("http://"+f.port(id+"-ops")+"/readyz").body, "out of reach") {
				noticed[id] = time.Since(begin)
			}
		}
	}
	f.control.thaw(t)
	for _, id := range nodes {
		f.linked(id)
	}
	var r receipt
	f.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), &r)
	if !slices.Equal(r.Receipt.Acknowledged, nodes) {
		t.Errorf("receipt: %+v", r)
	}
	confirmed := time.Now()
	time.Sleep(time.Second)
	stop()
	<-done
	l.wantNoErrors()
	again := f.sessionsOf(nodes)
	var longest float64
	for _, id := range nodes {
		if noticed[id] == 0 {
			t.Errorf("%s has not noticed", id)
		}
		longest = max(longest, noticed[id].Seconds()/(lease/6).Seconds())
		if n := again[id] - before[id]; n < 1 || n > 2 {
			t.Errorf("%s opened %d sessions after it, want one", id, n)
		}
	}
	report(t, fakellm.UsedAfter(fakellm.Attempts(f.upstream.Ledger()), secret(0), confirmed.Add(250*time.Millisecond)))
	f.compare(f.upstream.Ledger(), l)
	figure(t, "none", "control plane stands still", "%v of a lease of %v: %d requests, %d client errors, noticed after %.1f heartbeats, %v sessions after it",
		still, lease, l.sent.Load(), len(l.errs), longest, again["eu-1"]+again["us-1"]-before["eu-1"]-before["us-1"])
}

// sessionsOf counts the sessions that nodes have opened.
func (f *fleet) sessionsOf(nodes []string) map[string]int {
	f.t.Helper()
	opened := map[string]int{}
	for _, id := range nodes {
		opened[id] = strings.Count(f.logOf(f.t, id), `"session opened"`)
	}
	return opened
}

// linked waits until a node has a session.
func (f *fleet) linked(id string) {
	f.t.Helper()
	for range 600 {
		if strings.Contains(f.get("http://"+f.port(id+"-ops")+"/readyz").body, `"link":"connected"`) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.t.Fatalf("%s has no session", id)
}

// waiter is a client whose request lies in a frozen node's socket.
type waiter struct {
	conn net.Conn
	read *bufio.Reader
	name string
	sent int
}

// waiters connects this many.
func (f *fleet) waiters(node string, n int) []*waiter {
	f.t.Helper()
	var all []*waiter
	for i := range n {
		c, err := net.Dial("tcp", f.port(node))
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(func() { _ = c.Close() })
		all = append(all, &waiter{conn: c, read: bufio.NewReader(c), name: fmt.Sprint("w", i)})
	}
	return all
}

// send sends a request and does not wait for its answer.
func (w *waiter) send(t *testing.T, token string) {
	t.Helper()
	w.sent++
	body := fmt.Sprintf(`{"model":%q,"user":"%s-%d","messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel, w.name, w.sent)
	if _, err := fmt.Fprintf(w.conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body); err != nil {
		t.Fatal(err)
	}
}

// status answers the status of the next answer.
func (w *waiter) status(t *testing.T) int {
	t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(w.read, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// A node that stood still past its lease and its grace, and finds no control plane when it goes on, sends nothing upstream:
// neither what was waiting in its sockets nor what comes then. With a grace that lasts it does, so the look would see it.
func TestProcessNodeStandsStillPastItsLease(t *testing.T) {
	for _, grace := range []string{"500ms", "1h"} {
		t.Run("grace "+grace, func(t *testing.T) {
			f := processesSet(t, ollama, []string{"APIPOOL_LEASE_TTL=1s", "APIPOOL_GRACE=" + grace}, "eu-1@eu-west")
			f.addKey(secret(0), fakellm.Behaviour{})
			token := f.addToken("still")
			if got := f.chat("eu-1", token); !got.ok() {
				t.Fatalf("before: %v", got)
			}
			waiting := f.waiters("eu-1", 8)
			f.nodes["eu-1"].freeze(t)
			f.control.kill()
			from := len(f.upstream.Ledger())
			for _, w := range waiting {
				w.send(t, token)
			}
			time.Sleep(1700 * time.Millisecond)
			f.nodes["eu-1"].thaw(t)
			statuses := map[int]int{}
			for range 3 {
				for _, w := range waiting {
					statuses[w.status(t)]++
					w.send(t, token)
				}
			}
			for _, w := range waiting {
				statuses[w.status(t)]++
			}
			dispatched := len(f.upstream.Ledger()) - from
			if grace == "1h" {
				if dispatched != 32 || statuses[200] != 32 {
					t.Errorf("within the grace %d of 32 were sent upstream: %v", dispatched, statuses)
				}
			} else if dispatched != 0 || statuses[503] != 32 {
				t.Errorf("%d requests were sent upstream on a lease that was over: %v", dispatched, statuses)
			}
			figure(t, "none", "node stands still past its lease, grace "+grace, "%d of 32 requests sent upstream", dispatched)
			f.startControl()
			f.wait("http://" + f.port("eu-1-ops") + "/readyz")
			if got := f.chat("eu-1", token); !got.ok() {
				t.Errorf("when the control plane is back: %v", got)
			}
		})
	}
}

// A key that was disabled while a node stood still is used there at most once by each request that was waiting, and not at all
// once the node has read what it was told.
func TestProcessKeyDisabledWhileItsNodeStandsStill(t *testing.T) {
	f := processes(t, "eu-1@eu-west")
	for n := range 3 {
		f.addKey(secret(n), fakellm.Behaviour{})
	}
	token := f.addToken("still")
	waiting := f.waiters("eu-1", 8)
	for _, w := range waiting {
		w.send(t, token)
		if got := w.status(t); got != 200 {
			t.Fatalf("before: %d", got)
		}
	}
	f.nodes["eu-1"].freeze(t)
	for _, w := range waiting {
		w.send(t, token)
	}
	var r receipt
	f.admin("POST", "/admin/keys/disable?wait=0.5", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), &r)
	if len(r.Receipt.Acknowledged) != 0 || len(r.Receipt.Pending) != 1 {
		t.Errorf("the node stands still, and the receipt is %+v", r)
	}
	from := len(f.upstream.Ledger())
	f.nodes["eu-1"].thaw(t)
	for range 5 {
		for _, w := range waiting {
			if got := w.status(t); got != 200 {
				t.Errorf("%s: %d", w.name, got)
			}
		}
		time.Sleep(50 * time.Millisecond) // for the node to read what it was told
		for _, w := range waiting {
			w.send(t, token)
		}
	}
	uses := map[string]int{}
	for _, e := range fakellm.Attempts(f.upstream.Ledger()[from:]) {
		if e.Key == secret(0) {
			worker, _, _ := strings.Cut(e.RequestID, "-")
			uses[worker]++
		}
	}
	most := 0
	for worker, n := range uses {
		if most = max(most, n); n > 1 {
			t.Errorf("%s was served %d times with a disabled key", worker, n)
		}
	}
	for _, w := range waiting {
		w.status(t)
	}
	f.admin("POST", "/admin/keys/disable", fmt.Sprintf(`{"apiKey":%q}`, secret(0)), &r)
	if !slices.Equal(r.Receipt.Acknowledged, []string{"eu-1"}) {
		t.Errorf("receipt: %+v", r)
	}
	from = len(f.upstream.Ledger())
	for _, w := range waiting {
		w.send(t, token)
		w.status(t)
	}
	report(t, fakellm.UsedAfter(f.upstream.Ledger()[from:], secret(0), time.Time{}))
	figure(t, "none", "key disabled while its node stands still", "%d uses by %d waiting clients, at most %d by one", len(uses), len(waiting), most)
}
