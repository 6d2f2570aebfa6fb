package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestADirectoryThatCannotBeOpenedIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.db"), []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := New(t.Context(), Config{DataDir: dir, NodeListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}
