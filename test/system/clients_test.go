package system

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

func TestProcessTheNpmClient(t *testing.T) {
	const dir = "../clients"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("left out: no Node.js (make deps)")
	}
	if _, err := os.Stat(dir + "/node_modules/openai"); err != nil {
		t.Skip("left out: the npm client is not installed (make deps)")
	}
	f := processes(t, "eu-1@eu-west")
	f.addKey(secret(0), fakellm.Behaviour{Status: 401})
	f.addKey(secret(1), fakellm.Behaviour{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "chat.mjs", "http://"+f.port("eu-1")+"/v1", f.addToken("npm"), fakellm.DefaultModel)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got struct {
		Whole, Stream, Finish string
		Models                []string
		Refused               struct {
			Name, Code string
			Status     int
			RequestID  bool
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if want := fakellm.Answer("hello"); got.Whole != want || got.Stream != want || got.Finish != "stop" {
		t.Errorf("answered %q, streamed %q, finished %q", got.Whole, got.Stream, got.Finish)
	}
	if !slices.Contains(got.Models, fakellm.DefaultModel) {
		t.Errorf("models are %q", got.Models)
	}
	if r := got.Refused; r.Name != "AuthenticationError" || r.Status != 401 || r.Code != "invalid_api_key" || !r.RequestID {
		t.Errorf("a wrong token is %+v", r)
	}
}

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
