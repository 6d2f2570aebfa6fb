package system

import (
	"strings"
	"testing"

	"ollama-api-pool/test/fakellm"
)

func TestAClientIsAnsweredWithALeasedKeyAndTheControlPlaneKnows(t *testing.T) {
	bubble(t, []string{"eu-1@eu-west"}, func(c *cluster) {
		c.ready("eu-1")
		c.addKey("sk-upstream-key-0000000000000001", fakellm.Behaviour{})
		token := c.addToken("first")
		got := c.chat("eu-1", token, "r1", false)
		if !got.ok() || !strings.Contains(got.body, fakellm.Answer("hello")) {
			t.Fatalf("answer: %v", got)
		}
		got = c.chat("eu-1", token, "r2", true)
		if !got.ok() || !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
			t.Fatalf("stream: %v", got)
		}
		c.settle()
		if f := c.stats(); f.TotalRequests != 2 || f.SuccessCount != 2 || f.UpstreamAttempts != 2 {
			t.Errorf("the control plane counted %+v", f)
		}
		if got := c.chat("eu-1", "sk-pool-nonsense", "r3", false); got.status != 401 {
			t.Errorf("a wrong token: %v", got)
		}
	})
}
