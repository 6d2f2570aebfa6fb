package system

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

// One node's way out answers the same to everything, a rejection or a spent quota, and it reports many keys before any probe is
// answered. Few keys are out on its word, the others' clients feel nothing, it is not believed in the end, and it serves again soon
// after it is mended. The control is a node that has no others: all of its keys are out, and the count sees them.
func TestFewKeysAreOutOnOneNodesWord(t *testing.T) {
	const keys = 20
	for _, status := range []int{http.StatusUnauthorized, http.StatusPaymentRequired} {
		for _, nodes := range []int{3, 1} {
			names, places := nodeNames(nodes)
			bubble(t, nil, func(c *cluster) {
				mend := c.wall("n0", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(status)
					_, _ = w.Write([]byte(`{"error":"no"}`))
				}))
				for i, n := range names {
					c.startNode(places[i])
					c.ready(n)
				}
				for i := range keys {
					c.addKey(secret(i), fakellm.Behaviour{Delay: 2 * time.Second})
				}
				token := c.addToken("word")
				broken := c.throng(token, names[:1], 20, evenly)
				var others *throng
				if nodes > 1 {
					others = c.throng(token, names[1:], 20, evenly)
				}
				worst := 0
				for range 350 {
					time.Sleep(200 * time.Millisecond)
					worst = max(worst, keys-c.countActive())
				}
				broken.end()
				failed := int64(0)
				if others != nil {
					others.end()
					failed = others.asked.Load() - others.served.Load()
				}
				t.Logf("%d nodes, one of which meets only %d for 70 s: at most %d of %d keys were out at a time, %d requests at other nodes failed",
					nodes, status, worst, keys, failed)
				switch {
				case nodes == 1 && worst != keys:
					t.Errorf("%d: a node that is alone put %d keys out: it does nothing, or the count is blind", status, worst)
				case nodes > 1 && (worst < 1 || worst > 5 || failed != 0 || !c.distrusts("n0") || c.distrusts("n1")):
					t.Errorf("%d: %d keys were out, %d requests at other nodes failed; distrusted: %v", status, worst, failed, c.distrusts("n0"))
				}
				if nodes == 1 {
					return
				}
				time.Sleep(10 * time.Second)
				if out := keys - c.countActive(); out != 0 {
					t.Errorf("%d: %d keys are still out on its word", status, out)
				}
				mend()
				time.Sleep(map[int]time.Duration{http.StatusUnauthorized: 35 * time.Second, http.StatusPaymentRequired: 6 * time.Minute}[status])
				for n := range 20 {
					if got := c.chat("n0", token, fmt.Sprint("mended", n), false); !got.ok() {
						t.Errorf("%d: its way is mended, and it answers %v", status, got)
					}
				}
			})
		}
	}
}
