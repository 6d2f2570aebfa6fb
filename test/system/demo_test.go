package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The demo shows a failover and a key that goes out, by itself and without a flood, and leaves no process.
func TestProcessDemo(t *testing.T) {
	needCurl(t)
	if testing.Short() {
		t.Skip("starts real processes")
	}
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", bin+"/", "./test/demo")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "demo")
	out, err := runDemo(t, dir, bin, freePorts(t, 6), 20)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`failover  (eu-west|us-east): one request, [2-9] keys: .*→ answered`, `'rejected \(401\)' is now auto_disabled \(auth_rejected\)`,
		`'rate limited \(429\) for 15 s' is cooling`, `admin stats`, `saw 0 errors`, `failed with one key and got the whole`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("it does not say %q", want)
		}
	}
	token, err := os.ReadFile(filepath.Join(dir, "client-token"))
	if err != nil || strings.Contains(out, strings.TrimSpace(string(token))) || strings.Contains(out, "pretend-") {
		t.Errorf("it tells a token or a key (%v)", err)
	}
	for line := range strings.SplitSeq(out, "\n") {
		if told.MatchString(line) && len([]rune(line)) > 112 { // what is to be pasted may be longer
			t.Errorf("a line of %d characters: %s", len([]rune(line)), line)
		}
	}
	for _, name := range []string{"controlplane", "eu-west-1", "us-east-1", "traffic"} {
		text, err := os.ReadFile(filepath.Join(dir, name+".pid"))
		if err != nil {
			t.Error(err)
			continue
		}
		var pid int
		_, _ = fmt.Sscan(string(text), &pid)
		if pid == 0 || syscall.Kill(pid, 0) == nil {
			t.Errorf("%s, process %d, is still there", name, pid)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// told is the beginning of a line about something that has happened.
var told = regexp.MustCompile(`^\d\d:\d\d:\d\d `)

// A port that is taken is told, with nothing started.
func TestProcessDemoTellsOfTakenPorts(t *testing.T) {
	needCurl(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dir := filepath.Join(t.TempDir(), "demo")
	out, err := runDemo(t, dir, "/nowhere", port-1, 1)
	if err == nil || !strings.Contains(out, fmt.Sprintf("Port %d, which is for the control plane (admin API), is taken", port)) {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was begun")
	}
}

// runDemo plays it for some seconds and answers what it said.
func runDemo(t *testing.T, dir, bin string, port, seconds int) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "deploy/demo.sh")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), fmt.Sprint("DEMO_SECONDS=", seconds), fmt.Sprint("DEMO_PORT_BASE=", port), "DEMO_DIR="+dir, "DEMO_BIN="+bin)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it stops what it started
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// freePorts answers the first of n ports in a row that nobody listens on.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		free := first+n < 65536
		for port := first; free && port < first+n; port++ {
			l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
			if free = err == nil; free {
				_ = l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no six free ports in a row")
	return 0
}
