package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dataplane "ollama-api-pool/dataplane/server"
)

// nodesHere starts data planes in the test's own process. They reach the control plane as any others do.
func (f *fleet) nodesHere(n int) (names []string) {
	f.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	f.t.Cleanup(func() { stop(); running.Wait() })
	for i := range n {
		name := fmt.Sprintf("here-%02d", i+1)
		names = append(names, name)
		var at [2]net.Listener
		for j, what := range []string{name, name + "-ops"} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				f.t.Fatal(err)
			}
			at[j], f.ports[what] = l, l.Addr().String()
		}
		s, err := dataplane.New(dataplane.Config{
			ControlPlane: f.port("control"), NodeID: name, Region: "here", JoinToken: joinToken, DataDir: f.path(name),
			Listener: at[0], OpsListener: at[1], Logger: f.logs.logger(name),
		})
		if err != nil {
			f.t.Fatal(err)
		}
		running.Go(func() {
			if err := s.Run(ctx); err != nil {
				f.t.Errorf("%s ended with %v", name, err)
			}
		})
	}
	for _, name := range names {
		f.wait("http://" + f.port(name+"-ops") + "/readyz")
	}
	return names
}

// poolKey makes the n-th key of a large pool.
func poolKey(n int) string {
	return fmt.Sprintf("sk-many-%08d-%016x", n, 0x9e3779b97f4a7c15*uint64(n+1))
}

// importKeys adds the keys from..to.
func (f *fleet) importKeys(from, to int) {
	f.t.Helper()
	for at := from; at < to; at += 1000 {
		var list strings.Builder
		for n := at; n < min(at+1000, to); n++ {
			fmt.Fprintf(&list, "%q,", poolKey(n))
		}
		var j job
		f.admin("POST", "/admin/api-keys/import", `{"keys":[`+strings.TrimSuffix(list.String(), ",")+`]}`, &j)
		if want := min(at+1000, to) - at; j.Counts["added"] != want {
			f.t.Fatalf("of %d keys %v", want, j.Counts)
		}
	}
}

// How long a revocation takes until every node has confirmed it, in a fleet at rest and while keys are being imported. The
// times are a figure; that everybody confirms each is not.
func TestProcessRevocation(t *testing.T) {
	if os.Getenv("APIPOOL_TEST_FAULTS") == "" {
		t.Skip("a figure: one of the longer suites (make test-faults)")
	}
	const nodes, keys, rounds = 12, 10_000, 200
	f := processes(t)
	names := fmt.Sprint(f.nodesHere(nodes))
	f.importKeys(0, keys)
	revoke := func(busy string) {
		t.Helper()
		times := make([]time.Duration, 0, rounds)
		for n := range rounds {
			body := fmt.Sprintf(`{"apiKey":%q}`, poolKey(n*keys/rounds))
			var r receipt
			begin := time.Now()
			f.admin("POST", "/admin/keys/disable", body, &r)
			times = append(times, time.Since(begin))
			if fmt.Sprint(r.Receipt.Acknowledged) != names {
				t.Fatalf("acknowledged by %v, pending %v", r.Receipt.Acknowledged, r.Receipt.Pending)
			}
			f.admin("POST", "/admin/keys/enable", body, nil)
		}
		slices.Sort(times)
		at := func(percent int) time.Duration {
			return times[min(rounds*percent/100, rounds-1)].Round(10 * time.Microsecond)
		}
		fmt.Printf("revocation%s: p50 %v p90 %v p99 %v max %v (%d nodes, %d keys, %d rounds)\n",
			busy, at(50), at(90), at(99), at(100), nodes, keys, rounds)
	}
	revoke("")

	var over atomic.Bool
	imported := make(chan int, 1)
	go func() {
		n := keys
		for ; !over.Load(); n += 1000 {
			f.importKeys(n, n+1000)
			time.Sleep(200 * time.Millisecond) // on few cores the nodes have as much to do with it as the control plane
		}
		imported <- n - keys
	}()
	time.Sleep(100 * time.Millisecond)
	revoke(" during an import")
	over.Store(true)
	if n := <-imported; n < 2000 {
		t.Errorf("only %d keys were imported meanwhile: this proves nothing", n)
	} else {
		t.Logf("%d keys were imported meanwhile", n)
	}
}
