package server

import (
	"bytes"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// unattended is the setting of a fleet whose data directory and join token are in two folders, as in two volumes.
func unattended(t *testing.T) Config {
	t.Helper()
	return Config{
		DataDir: filepath.Join(t.TempDir(), "data"), JoinTokenFile: filepath.Join(t.TempDir(), "token"),
		NodeListen: "127.0.0.1:0", AdminListen: "127.0.0.1:0",
	}
}

func prepare(t *testing.T, c Config) (token string) {
	t.Helper()
	if err := Prepare(c); err != nil {
		t.Fatal(err)
	}
	return read(t, c.JoinTokenFile)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tree answers every file below a folder with what is in it.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all[path] = read(t, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPrepareMakesADirectoryAndAJoinToken(t *testing.T) {
	c := unattended(t)
	var log bytes.Buffer
	c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	token := prepare(t, c)
	if len(token) < 27 || strings.TrimSpace(token)+"\n" != token { // 26 letters and digits of base32 hold 130 bits
		t.Errorf("the file holds %d characters", len(token))
	}
	info, err := os.Stat(c.JoinTokenFile)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if n := len(tree(t, filepath.Dir(c.JoinTokenFile))); n != 1 {
		t.Errorf("%d files are beside each other where one belongs", n)
	}
	if strings.Contains(log.String(), strings.TrimSpace(token)) {
		t.Error("the token was logged")
	}
	if other := prepare(t, unattended(t)); other == token {
		t.Error("two fleets have one token")
	}
}

func TestPrepareKeepsWhatIsThere(t *testing.T) {
	c := unattended(t)
	token := prepare(t, c)
	s, err := New(t.Context(), c) // in use, and running
	if err != nil {
		t.Fatal(err)
	}
	if given, err := s.joinToken(); err != nil || given.Reveal() != strings.TrimSpace(token) {
		t.Errorf("serve does not take the token: %v", err)
	}
	if again := prepare(t, c); again != token {
		t.Error("the token was replaced while the control plane runs")
	}
	s.close()

	before := tree(t, c.DataDir)
	if again := prepare(t, c); again != token {
		t.Error("the token was replaced after the control plane has stopped")
	}
	if after := tree(t, c.DataDir); !maps.Equal(after, before) {
		t.Error("the data directory was changed")
	}
}

func TestPrepareTakesAnOperatorsToken(t *testing.T) {
	c := unattended(t)
	const given = "0123456789abcdefghijkl"
	if err := os.WriteFile(c.JoinTokenFile, []byte(given), 0o400); err != nil {
		t.Fatal(err)
	}
	if kept := prepare(t, c); kept != given {
		t.Error("it was replaced")
	}
}

func TestPrepareRefuses(t *testing.T) {
	for _, row := range []struct {
		why  string
		make func(*Config)
		want string
	}{
		{"no place for the token is named", func(c *Config) { c.JoinTokenFile = "" }, "--join-token-file or APIPOOL_JOIN_TOKEN_FILE"},
		{"the token there is weak", func(c *Config) { put(t, c.JoinTokenFile, "weak\n") }, "remove that file"},
		{"the file there is empty", func(c *Config) { put(t, c.JoinTokenFile, "") }, "remove that file"},
		{"its folder is not there", func(c *Config) { c.JoinTokenFile = filepath.Join(c.JoinTokenFile, "below") }, "no such file"},
		{"the database is gone", func(c *Config) { put(t, filepath.Join(c.DataDir, "stats.db"), "what was counted") }, "stats.db"},
	} {
		t.Run(row.why, func(t *testing.T) {
			c := unattended(t)
			folder := filepath.Dir(c.JoinTokenFile)
			row.make(&c)
			before := tree(t, folder)
			err := Prepare(c)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got %v, want %q in it", err, row.want)
			}
			if strings.Contains(err.Error(), "weak\n") {
				t.Error("the error quotes the token")
			}
			if after := tree(t, folder); !maps.Equal(after, before) {
				t.Error("the token's folder was changed")
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Of many who write at once exactly one does, and all agree with it.
func TestOneOfManyWritesTheJoinToken(t *testing.T) {
	c, err := unattended(t).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	tokens := make([]string, 16)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			if err := c.writeJoinToken(); err != nil {
				t.Error(err)
				return
			}
			text, err := os.ReadFile(c.JoinTokenFile)
			if err != nil {
				t.Error(err)
			}
			tokens[i] = string(text)
		})
	}
	all.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Fatal("two have seen different tokens")
		}
	}
	if n := len(tree(t, filepath.Dir(c.JoinTokenFile))); n != 1 {
		t.Errorf("%d files are left", n)
	}
}

// Without the flag init is as it was.
func TestInitRefusesAUsedDirectory(t *testing.T) {
	c := unattended(t)
	prepare(t, c)
	if err := Init(c); err == nil || !strings.Contains(err.Error(), c.DataDir) {
		t.Errorf("got %v", err)
	}
}
