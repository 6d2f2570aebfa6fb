package system

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ollama-api-pool/test/fakellm"
)

const clientsDir = "../clients"

// client is a library that people call the pool with, and the script that does so.
type client struct {
	name  string
	needs string // the npm package; empty: none
	args  []string
	cases []string // that the script must tell to hold, one by one
	run   func(*stage, *testing.T, client)
}

var allClients = []client{
	{name: "openai", needs: "openai", args: []string{"openai.mjs", "openai"}, cases: openAICases},
	{name: "openai4", needs: "openai4", args: []string{"openai.mjs", "openai4"}, cases: openAICases},
	{name: "anthropic", needs: "@anthropic-ai/sdk", args: []string{"anthropic.mjs", "@anthropic-ai/sdk"}, cases: anthropicCases},
	{name: "anthropic0", needs: "anthropic0", args: []string{"anthropic.mjs", "anthropic0"}, cases: anthropicCases},
	{name: "ollama", needs: "ollama", args: []string{"ollama.mjs"}, cases: ollamaCases},
	{name: "ai", needs: "@ai-sdk/openai-compatible", args: []string{"ai.mjs"}, cases: aiCases},
	{name: "langchain", needs: "@langchain/openai", args: []string{"langchain.mjs"}, cases: langchainCases},
	{name: "openai-go", run: (*stage).openAIGo},
	{name: "ollama-go", cases: ollamaGoCases, run: (*stage).ollamaGo},
}

// The client libraries that people use, each in front of two data planes that it asks in turn.
func TestProcessTheClients(t *testing.T) {
	kind := fakellm.Config{Dialect: fakellm.Ollama, Models: modelsOf(allClients), KeepBodies: true}
	s := newStage(processesBefore(t, kind, "eu-1@eu-west", "us-1@us-east"), allClients)
	var ran []string
	for _, c := range allClients {
		t.Run(c.name, func(t *testing.T) {
			begin := time.Now()
			s.runs(t, c)
			ran = append(ran, c.name)
			t.Logf("%d cases in %v", len(c.cases), time.Since(begin).Round(time.Millisecond))
		})
	}
	s.wantCancels(ran)
	s.scan(slices.AppendSeq(slices.Clone(s.secrets), maps.Values(s.tokens))...)
}

// runs lets a client do all that it can, or skips it.
func (s *stage) runs(t *testing.T, c client) {
	switch {
	case c.run != nil:
		c.run(s, t, c)
	case c.needs != "":
		needNpm(t, c.needs)
		s.script(t, c, "node")
	}
}

func needNpm(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("left out: no Node.js (make deps)")
	}
	if _, err := os.Stat(filepath.Join(clientsDir, "node_modules", name)); err != nil {
		t.Skipf("left out: the npm package %s is not installed (make deps)", name)
	}
}

// script runs a client's program and demands that each of its cases holds.
func (s *stage) script(t *testing.T, c client, program string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, c.args...)
	// Nothing else of the environment: several libraries take keys, addresses and proxies from it.
	cmd.Dir, cmd.Env = clientsDir, []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "POOL_CLIENT=" + c.name, "POOL_TOKEN=" + s.tokens[c.name],
		"POOL_NODES=http://" + s.port("eu-1") + " http://" + s.port("us-1"), "POOL_UPSTREAM=" + s.ledger,
	}
	var out, why bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &why
	err := cmd.Run()
	faults := faultsOf(out.String(), c.cases)
	if err != nil {
		faults = append(faults, err.Error())
	}
	if len(faults) > 0 {
		t.Errorf("%s\n%s", strings.Join(faults, "\n"), why.String())
	}
}

// faultsOf says how a script's output differs from telling, line by line, that each case holds.
func faultsOf(out string, cases []string) (faults []string) {
	told := map[string]bool{}
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ok ")
		if !ok || told[name] || !slices.Contains(cases, name) {
			faults = append(faults, strings.TrimSpace(line))
			continue
		}
		told[name] = true
	}
	for _, name := range cases {
		if !told[name] {
			faults = append(faults, "it was not told that "+name)
		}
	}
	return faults
}
