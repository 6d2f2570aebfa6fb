package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ollamaGo builds and runs the program with Ollama's library for Go. It is a module of its own, which is not downloaded here:
// that is for `make deps`.
func (s *stage) ollamaGo(t *testing.T, c client) {
	program := filepath.Join(t.TempDir(), "ollama-go")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join(clientsDir, "go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOPROXY=off", "GOWORK=off")
	out, err := build.CombinedOutput()
	switch {
	case err != nil && strings.Contains(string(out), "GOPROXY=off"):
		t.Skip("left out: Ollama's library for Go is not downloaded (make deps)")
	case err != nil:
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s.script(t, c, program)
}
