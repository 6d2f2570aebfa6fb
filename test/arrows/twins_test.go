package arrows

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twins are files that both planes have, because they share no package, and that must not differ but for its name: what
// protects the pool on one side and not on the other protects nothing.
var twins = [][2]string{
	{"dataplane/internal/proxy/guard.go", "controlplane/internal/probe/guard.go"},    // addresses that are never connected to
	{"dataplane/internal/provider/words.go", "controlplane/internal/probe/words.go"}, // what an upstream's words mean
	{"dataplane/internal/provider/address.go", "controlplane/internal/probe/address.go"},
}

// body answers a file without its first line.
func body(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	if !strings.HasPrefix(first, "package ") || len(rest) < 100 {
		t.Fatalf("%s does not begin with its package's name", name)
	}
	return rest
}

func TestTwinsAreAlike(t *testing.T) {
	for _, pair := range twins {
		if body(t, pair[0]) != body(t, pair[1]) {
			t.Errorf("%s and %s differ: change both", pair[0], pair[1])
		}
	}
	if body(t, twins[0][0]) == body(t, twins[1][0]) {
		t.Error("files that have nothing in common are called alike")
	}
}
