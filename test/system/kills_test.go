package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// The control plane is killed again and again, 20 to 500 ms after it is ready or after a node has a session, while clients
// send, nodes report and an operator imports, edits, disables and deletes. No client notices; what was acknowledged is there,
// what was not is there whole or not at all; and nothing is counted twice or not at all. KILLS sets how often,
// APIPOOL_TEST_SEED repeats the times.
func TestProcessControlPlaneIsKilledUnderLoad(t *testing.T) {
	kills, seed := 10, rand.Uint64N(1<<32)
	if os.Getenv("APIPOOL_TEST_FAULTS") != "" {
		kills = 200
	}
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		kills = n
	}
	if s, err := strconv.ParseUint(os.Getenv("APIPOOL_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	nodes := []string{"eu-1", "us-1"}
	f := processes(t, "eu-1@eu-west", "us-1@us-east")
	for n := range 10 {
		b := fakellm.Behaviour{}
		if n == 0 { // failures are counted too
			b.Script = []fakellm.Behaviour{{Status: 500}, {}, {}, {}}
			for range 5 {
				b.Script = append(b.Script, b.Script...)
			}
		}
		f.addKey(secret(n), b)
	}
	const perMinute, atOnce = 40, 2 // of keys whose shares the control plane has to learn anew each time
	f.behave(secret(10), fakellm.Behaviour{})
	f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"limits":{"requestsPerMinute":%d,"policy":"hard"}}`, secret(10), perMinute), nil)
	f.behave(secret(11), fakellm.Behaviour{Delay: 50 * time.Millisecond})
	f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"limits":{"maxConcurrent":%d,"policy":"hard"}}`, secret(11), atOnce), nil)
	l := &load{f: f, token: f.addToken("load"), nodes: nodes, pause: 15 * time.Millisecond}
	o := newOracle(f)
	ctx, stop := context.WithCancel(t.Context())
	loaded, wrote := make(chan struct{}), make(chan struct{})
	go func() { defer close(loaded); l.run(ctx, 8, 0) }()
	go func() { defer close(wrote); o.run() }()
	var ready []time.Duration
	for n := range kills {
		if n%2 == 1 { // in the middle of syncs and reports
			f.linked(nodes[n/2%2])
		}
		time.Sleep(time.Duration(20+rnd.IntN(480)) * time.Millisecond)
		f.control.kill()
		begin := time.Now()
		f.startControl()
		ready = append(ready, time.Since(begin))
	}
	o.quit.Store(true)
	stop()
	<-loaded
	<-wrote
	l.wantNoErrors()
	ledger := f.upstream.Ledger()
	f.compare(ledger, l)
	report(t, fakellm.DoubleTries(ledger))
	report(t, fakellm.OverRate(ledger, secret(10), perMinute))
	report(t, fakellm.OverConcurrency(ledger, secret(11), atOnce))
	seen := o.seen()
	wrong := judgeCells(o.cells, seen)
	report(t, wrong)
	o.cells["add-doctored"] = &cell{acked: "there"} // an acknowledgement without a commit
	if len(judgeCells(o.cells, seen)) != len(wrong)+1 {
		t.Error("an acknowledged write that is not there is not noticed")
	}
	imports, half := 0, 0
	for name, value := range seen {
		if strings.HasPrefix(name, "imp-") {
			if imports++; value != "whole" {
				half++
			}
		}
	}
	median, longest := spread(ready)
	figure(t, seed, "process kill", "%d kills: %d acknowledged writes, %d lost or torn, %d without an answer, %d imports, %d half; %d requests, %d attempts, "+
		"all counted once; no limit exceeded; client errors %d; ready again in %v, at most %v", kills, o.written, len(wrong), o.open, imports, half,
		l.sent.Load(), len(fakellm.Attempts(ledger)), len(l.errs), median.Round(time.Millisecond), longest.Round(time.Millisecond))
	f.scan(l.token, canary("add", 0), canary("imp", 3), canary("edit-1", 0), canary("del", 1))
}

// And would the oracle find a control plane that acknowledges first and commits then? One stands between them here.
func TestProcessAnAcknowledgementBeforeTheCommitIsFoundOut(t *testing.T) {
	f := processes(t)
	target, err := url.Parse(f.base)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = log.New(io.Discard, "", 0)
	eager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body, r.Host = io.NopCloser(bytes.NewReader(body)), target.Host
		if r.Method != http.MethodPost || !bytes.Contains(body, []byte(`"label":"add-`)) {
			forward.ServeHTTP(w, r)
			return
		}
		_, _ = io.WriteString(w, `{"created":true}`)
		later := r.Clone(context.WithoutCancel(r.Context()))
		later.Body = io.NopCloser(bytes.NewReader(body))
		time.AfterFunc(100*time.Millisecond, func() { forward.ServeHTTP(httptest.NewRecorder(), later) })
	}))
	t.Cleanup(eager.Close)
	o := newOracle(f)
	o.base = eager.URL
	wrote := make(chan struct{})
	go func() { defer close(wrote); o.run() }()
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		f.control.kill()
		f.startControl()
	}
	time.Sleep(300 * time.Millisecond)
	o.quit.Store(true)
	<-wrote
	time.Sleep(300 * time.Millisecond) // for what was put off
	wrong := judgeCells(o.cells, o.seen())
	if len(wrong) == 0 {
		t.Error("acknowledged before the commit, killed three times, and nothing is missing")
	}
	for _, w := range wrong {
		if !strings.HasPrefix(w, "add-") {
			t.Error(w)
		}
	}
	figure(t, "none", "acknowledged before the commit", "%d of %d acknowledged writes are found lost", len(wrong), o.written)
}
