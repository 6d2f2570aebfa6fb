package system

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// Limits by the minute and on requests at the same time, at real data planes that are killed, stopped and started again, with a
// control plane that is killed too: three minutes at five times the capacity.
func TestProcessLimitsHoldWhileNodesAreKilled(t *testing.T) {
	if os.Getenv("APIPOOL_TEST_FAULTS") == "" {
		t.Skip("one of the longer suites: make test-faults")
	}
	names, places := nodeNames(8)
	f := processes(t, places...)
	const keys, perMinute, span = 20, 30, 3 * time.Minute
	var secrets []string
	for i := range keys {
		f.behave(secret(i), fakellm.Behaviour{})
		f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"limits":{"requestsPerMinute":%d,"policy":"hard"}}`, secret(i), perMinute), nil)
		secrets = append(secrets, secret(i))
	}
	plans := map[string]int{}
	for i, most := range []int{1, 3, 10} {
		s := secret(keys + i)
		plans[s] = most
		f.behave(s, fakellm.Behaviour{Delay: 300 * time.Millisecond})
		f.admin("POST", "/admin/api-keys", fmt.Sprintf(`{"apiKey":%q,"limits":{"maxConcurrent":%d,"policy":"hard"}}`, s, most), nil)
	}
	token := f.addToken("limits")
	f.admin("PATCH", "/admin/providers/ollama", `{"failover":{"patience":0}}`, nil)

	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	var served atomic.Int64
	begin := time.Now()
	for i, n := range names { // about five times what the keys may do, together
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			for time.Since(begin) < span {
				time.Sleep(time.Duration(r.ExpFloat64() * float64(100*time.Millisecond)))
				wg.Go(func() {
					req, _ := http.NewRequest("POST", "http://"+f.port(n)+"/v1/chat/completions", strings.NewReader(
						fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, fakellm.DefaultModel)))
					req.Header.Set("Authorization", "Bearer "+token)
					if resp, err := client.Do(req); err == nil {
						resp.Body.Close()
						if resp.StatusCode == http.StatusOK {
							served.Add(1)
						}
					}
				})
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for time.Since(begin) < span-15*time.Second {
		time.Sleep(5 * time.Second)
		i := r.IntN(len(names))
		switch r.IntN(4) {
		case 0:
			f.control.kill()
			f.startControl()
		case 1:
			_ = f.nodes[names[i]].cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(3 * time.Second)
			_ = f.nodes[names[i]].cmd.Process.Signal(syscall.SIGCONT)
		default:
			f.nodes[names[i]].kill()
			f.startNode(places[i])
		}
		kills++
	}
	wg.Wait()
	ledger := f.upstream.Ledger()
	over := overRate(ledger, secrets, perMinute)
	for s, most := range plans {
		over = append(over, fakellm.OverConcurrency(ledger, s, most)...)
	}
	report(t, over[:min(len(over), 10)])
	t.Logf("limits, real processes: %d of %d requests over a limit in %v with %d kills and stops; %d served (8 nodes, %d keys of %d/min, plans of 1, 3 and 10 at once)",
		len(over), len(ledger), span, kills, served.Load(), keys, perMinute)
	if served.Load() < keys*perMinute {
		t.Errorf("only %d were served", served.Load())
	}
}
