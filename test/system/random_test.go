package system

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Whatever happens in whatever order: no key is used after a node has confirmed that it is revoked, no request tries a key
// twice, every attempt and request is counted once, and in the end all agree on what is in use.
// Two stories are the same every time; the longer suites add two that nobody has seen. APIPOOL_TEST_SEED repeats one.
func TestRandomStories(t *testing.T) {
	seeds, steps := []uint64{1, 2}, 30
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		seeds, steps = append(seeds, rand.Uint64N(1<<20), rand.Uint64N(1<<20)), 300
	}
	if s, err := strconv.ParseUint(os.Getenv("APIPOOL_TEST_SEED"), 10, 64); err == nil {
		seeds = []uint64{s}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			bubble(t, []string{"eu-1@eu-west", "eu-2@eu-west", "us-1@us-east"}, func(c *cluster) {
				s := &story{cluster: c, rand: rand.New(rand.NewPCG(seed, 0)), all: []string{"eu-1", "eu-2", "us-1"}, cut: map[string]bool{}}
				s.begin()
				for range steps {
					s.step()
					s.check()
				}
				s.end()
			})
		})
	}
}

// story is a cluster, the requests that flow through it, and what has been confirmed to its operator.
type story struct {
	*cluster
	rand  *rand.Rand
	token string
	all   []string
	cut   map[string]bool
	keys  []*storyKey
	made  int
	told  []string // what happened, for a story that fails

	mu      sync.Mutex // guards what follows
	serving []string   // nodes that take requests
	sent    []sentRequest
	good    int
	quit    bool
	clients sync.WaitGroup
}

type storyKey struct {
	id, secret string
	disabled   bool
	gone       bool
	revoked    []revocation
}

// revocation says which nodes have confirmed that a key is out of use, and when that held.
type revocation struct {
	nodes    []string
	from, to time.Time // to: zero while it holds
}

type sentRequest struct {
	id, node string
	at       time.Time
}

func (s *story) begin() {
	for _, id := range s.all {
		s.ready(id)
	}
	s.token = s.addToken("story")
	for range 6 {
		s.addOne()
	}
	s.serving = slices.Clone(s.all)
	for n := range 4 {
		own := rand.New(rand.NewPCG(s.rand.Uint64(), uint64(n)))
		s.clients.Go(func() { s.client(own, n) })
	}
}

// client sends until told to stop, each request to a node that serves.
func (s *story) client(own *rand.Rand, n int) {
	for i := 0; ; i++ {
		time.Sleep(time.Duration(own.IntN(400)) * time.Millisecond)
		s.mu.Lock()
		if s.quit {
			s.mu.Unlock()
			return
		}
		var r sentRequest
		if len(s.serving) > 0 {
			r = sentRequest{fmt.Sprintf("c%d-%d", n, i), s.serving[own.IntN(len(s.serving))], time.Now()}
			s.sent = append(s.sent, r)
		}
		s.mu.Unlock()
		if r.id != "" {
			s.ask(r, own.IntN(2) == 0)
		}
	}
}

func (s *story) ask(r sentRequest, stream bool) {
	got := s.chat(r.node, s.token, r.id, stream)
	if got.err != nil || got.status == 401 || strings.Contains(got.body, "node_not_ready") {
		s.t.Errorf("request %s at %s: %v", r.id, r.node, got)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if got.ok() {
		s.good++
	}
}

// step lets one thing happen, if it can, and some time pass.
func (s *story) step() {
	key, node := s.keys[s.rand.IntN(len(s.keys))], s.all[s.rand.IntN(len(s.all))]
	switch what := s.rand.IntN(11); {
	case what == 0 && !s.cut[node]:
		s.tell("cut off", node)
		s.net.sever(node, "control")
		s.cut[node] = true
	case what <= 1 && s.cut[node]:
		s.mendLink(node)
	case what == 2:
		s.turnControl()
	case what == 3 && s.control != nil:
		s.turnNode(node)
	case what <= 5 && s.control != nil && !key.gone && !key.disabled:
		s.tell("disable", key.id)
		key.disabled = true
		s.revoke(key, "POST", "/admin/keys/disable", `{"id":"`+key.id+`","force":true}`)
	case what <= 7 && s.control != nil && !key.gone && key.disabled:
		s.tell("enable", key.id)
		s.closeRevocation(key)
		key.disabled = false
		s.admin("POST", "/admin/keys/enable", `{"id":"`+key.id+`"}`, nil)
	case what == 8 && s.control != nil && !key.gone && len(s.living()) > 3:
		s.tell("delete", key.id)
		key.gone = true
		s.closeRevocation(key)
		s.revoke(key, "DELETE", "/admin/api-keys/"+key.id, "")
	case what == 9 && s.control != nil && len(s.living()) < 9:
		s.addOne()
	default:
		b := []fakellm.Behaviour{{}, {}, {Status: 401}, {Status: 429, RetryAfter: "7"}, {Status: 500}, {Status: 500, Times: 2}}[s.rand.IntN(6)]
		s.tell("from now on", b.Status, key.id)
		s.behave(key.secret, b)
	}
	time.Sleep(time.Duration(s.rand.IntN(4000)) * time.Millisecond)
}

func (s *story) tell(what ...any) {
	s.told = append(s.told, time.Now().Format("04:05.000 ")+fmt.Sprintln(what...))
}

func (s *story) living() []*storyKey {
	return slices.DeleteFunc(slices.Clone(s.keys), func(k *storyKey) bool { return k.gone })
}

func (s *story) addOne() {
	k := &storyKey{secret: secret(s.made)}
	s.made++
	k.id = s.addKey(k.secret, fakellm.Behaviour{})
	s.keys = append(s.keys, k)
	s.tell("add", k.id)
}

// revoke has REST take a key out, and keeps the receipt to hold the nodes to.
func (s *story) revoke(k *storyKey, method, path, body string) {
	s.t.Helper()
	var r receipt
	s.admin(method, path+"?wait=1", body, &r)
	k.revoked = append(k.revoked, revocation{nodes: r.Receipt.Acknowledged, from: time.Now()})
}

func (s *story) closeRevocation(k *storyKey) {
	if n := len(k.revoked); n > 0 && k.revoked[n-1].to.IsZero() {
		k.revoked[n-1].to = time.Now()
	}
}

func (s *story) mendLink(node string) {
	s.tell("mend", node)
	s.net.mend(node, "control")
	delete(s.cut, node)
}

func (s *story) turnControl() {
	if s.control != nil {
		s.tell("stop the control plane")
		s.stopControl()
		return
	}
	s.tell("start the control plane")
	s.startControl()
}

// turnNode starts a node that is stopped, or stops one in order; that needs its control plane, or its last counts are lost.
func (s *story) turnNode(id string) {
	if s.nodes[id] == nil {
		s.startUp(id)
		return
	}
	var node struct{ State string }
	s.admin("GET", "/admin/nodes/"+id, "", &node)
	if s.cut[id] || node.State != "live" {
		return
	}
	s.tell("stop", id)
	s.mu.Lock()
	s.serving = slices.DeleteFunc(s.serving, func(n string) bool { return n == id })
	s.mu.Unlock()
	time.Sleep(time.Second) // what is on its way to it arrives
	s.stopNode(id)
}

func (s *story) startUp(id string) {
	if s.cut[id] {
		s.mendLink(id)
	}
	s.tell("start", id)
	region := map[byte]string{'e': "eu-west", 'u': "us-east"}[id[0]]
	s.startNode(id + "@" + region)
	s.ready(id)
	s.mu.Lock()
	s.serving = append(s.serving, id)
	s.mu.Unlock()
}

// check holds what the upstream saw against what nodes had confirmed.
func (s *story) check() {
	s.t.Helper()
	s.mu.Lock()
	sent := make(map[string]sentRequest, len(s.sent))
	for _, r := range s.sent {
		sent[r.id] = r
	}
	s.mu.Unlock()
	ledger := s.upstream.Ledger()
	report(s.t, fakellm.DoubleTries(ledger))
	by := map[string]*storyKey{}
	for _, k := range s.keys {
		by[k.secret] = k
	}
	for _, e := range fakellm.Attempts(ledger) {
		r := sent[e.RequestID]
		for _, v := range by[e.Key].revoked {
			if slices.Contains(v.nodes, r.node) && r.at.After(v.from) && (v.to.IsZero() || e.Start.Before(v.to)) {
				s.t.Errorf("%s had confirmed that key %s is out of use, and used it %v later", r.node, by[e.Key].id, r.at.Sub(v.from))
			}
		}
	}
	if s.t.Failed() {
		s.t.Fatal("the story so far:\n" + strings.Join(s.told, ""))
	}
}

// end lets everything heal, and asks everybody.
func (s *story) end() {
	if s.control == nil {
		s.turnControl()
	}
	for _, id := range s.all {
		if s.cut[id] {
			s.mendLink(id)
		}
		if s.nodes[id] == nil {
			s.startUp(id)
		}
	}
	for _, k := range s.living() {
		s.behave(k.secret, fakellm.Behaviour{})
	}
	time.Sleep(time.Minute)
	s.mu.Lock()
	s.quit = true
	s.mu.Unlock()
	s.clients.Wait()
	s.wantAgreement()
	s.settle()
	s.check()
	f, attempts := s.stats(), len(fakellm.Attempts(s.upstream.Ledger()))
	if int(f.UpstreamAttempts) != attempts {
		s.t.Errorf("counted %v attempts, the upstream saw %d", f.UpstreamAttempts, attempts)
	}
	if int(f.TotalRequests) != len(s.sent) || int(f.SuccessCount) != s.good {
		s.t.Errorf("counted %v requests and %v successes, the clients sent %d and had %d", f.TotalRequests, f.SuccessCount, len(s.sent), s.good)
	}
	s.check()
	s.t.Logf("%d requests, %d attempts, %d keys", len(s.sent), attempts, len(s.keys))
}

// wantAgreement holds what each node does against what REST says of the keys: they use what is in use and nothing else, unless
// nothing is; then those serve that failed softly.
func (s *story) wantAgreement() {
	s.t.Helper()
	before := s.statuses()
	from := len(s.upstream.Ledger())
	for i := range 40 {
		for _, id := range s.all {
			r := sentRequest{fmt.Sprintf("end-%s-%d", id, i), id, time.Now()}
			s.sent = append(s.sent, r)
			s.ask(r, false)
		}
	}
	after := s.statuses()
	used := map[string]map[string]bool{} // key → node
	for _, e := range fakellm.Attempts(s.upstream.Ledger()[from:]) {
		if used[e.Key] == nil {
			used[e.Key] = map[string]bool{}
		}
		used[e.Key][strings.Split(e.RequestID, "-")[1]+"-"+strings.Split(e.RequestID, "-")[2]] = true
	}
	anyActive := slices.ContainsFunc(s.keys, func(k *storyKey) bool { return before[k].active() || after[k].active() })
	for _, k := range s.keys {
		for _, id := range s.all {
			switch in, is := used[k.secret][id], after[k]; {
			case before[k] != is: // on its way
			case is.active() && !in:
				s.t.Errorf("key %s is active, and %s does not use it", k.id, id)
			case in && !is.active() && (anyActive || !is.softlyOut()):
				s.t.Errorf("key %s is %v, and %s uses it", k.id, is, id)
			}
		}
	}
	for _, id := range s.all {
		if last := leastBad(before, after); len(last) > 0 && !slices.ContainsFunc(last, func(k *storyKey) bool { return used[k.secret][id] }) {
			s.t.Errorf("nothing is left but keys that failed softly, and %s uses none of them", id)
		}
	}
}

// leastBad answers the keys that failed softly, if there are no others that are in use or will be soon.
func leastBad(before, after map[*storyKey]standing) (list []*storyKey) {
	for k, is := range after {
		switch {
		case before[k] != is, is.active(), is.status == "cooling", is.status == "suspect":
			return nil
		case is.softlyOut():
			list = append(list, k)
		}
	}
	return list
}

func (s *story) statuses() map[*storyKey]standing {
	list := map[*storyKey]standing{}
	for _, k := range s.keys {
		if !k.gone {
			var is standing
			is.status, is.reason = s.keyStatus(k.id)
			list[k] = is
		}
	}
	return list
}

// standing is what REST says of a key; zero: it is gone.
type standing struct{ status, reason string }

func (is standing) active() bool { return is.status == "active" }

// softlyOut says whether the key serves all the same when nothing else is left.
func (is standing) softlyOut() bool {
	return is.status == "auto_disabled" && slices.Contains([]string{"server_error", "timeout", "broken_answer"}, is.reason)
}
