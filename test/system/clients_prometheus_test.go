package system

import (
	"os/exec"
	"testing"

	"ollama-api-pool/test/fakellm"
)

func TestProcessPrometheusTakesTheMetrics(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		t.Skip("left out: no promtool (make deps)")
	}
	f := processes(t, "eu-1@eu-west")
	f.addKey(secret(0), fakellm.Behaviour{})
	f.chat("eu-1", f.addToken("metrics"))
	f.settle()
	for _, url := range []string{f.base + "/metrics", "http://" + f.port("eu-1-ops") + "/metrics"} {
		page := f.get(url)
		cmd := exec.Command("promtool", "check", "metrics")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = in.Write([]byte(page.body))
			_ = in.Close()
		}()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", url, err, out)
		}
	}
}
