package system

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

// demo is a run of deploy/demo.sh, in its own folder and on its own six ports from base on.
type demo struct {
	t    *testing.T
	dir  string
	base int
	cmd  *exec.Cmd
	done chan struct{}
}

func newDemo(t *testing.T) *demo {
	t.Helper()
	needCurl(t)
	if testing.Short() {
		t.Skip("starts real processes")
	}
	t.Parallel()
	if _, err := binaries(); err != nil {
		t.Fatal(err)
	}
	d := &demo{t: t, dir: t.TempDir(), done: make(chan struct{})}
	for d.base == 0 || len(d.taken()) > 0 {
		d.base = 20000 + rand.IntN(1500)*6 // below what the system gives to connections
	}
	return d
}

// start begins it; it never outlives the test by more than its own way of stopping takes.
func (d *demo) start(settings ...string) {
	d.t.Helper()
	bin, _ := binaries()
	out, err := os.Create(d.dir + ".out")
	if err != nil {
		d.t.Fatal(err)
	}
	d.cmd = exec.Command("../../deploy/demo.sh")
	d.cmd.Stdout, d.cmd.Stderr = out, out
	d.cmd.Env = append(os.Environ(), "DEMO_BIN="+bin, "DEMO_DIR="+d.dir, fmt.Sprint("DEMO_PORT_BASE=", d.base))
	d.cmd.Env = append(d.cmd.Env, settings...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait()
		_ = out.Close()
	}()
	d.t.Cleanup(func() {
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		<-d.done
		_ = os.Remove(out.Name())
	})
}

func (d *demo) output() string {
	text, _ := os.ReadFile(d.dir + ".out")
	return string(text)
}

// says waits until it has said this.
func (d *demo) says(words string) {
	d.t.Helper()
	for range 300 {
		if strings.Contains(d.output(), words) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.t.Fatalf("it did not say %q:\n%s", words, d.output())
}

// ends waits for its end, and looks for what it left.
func (d *demo) ends(code int) {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(time.Minute):
		d.t.Fatalf("it does not end:\n%s", d.output())
	}
	if got := d.cmd.ProcessState.ExitCode(); got != code {
		d.t.Errorf("exit code %d, want %d:\n%s", got, code, d.output())
	}
	for name, pid := range d.pids() {
		if syscall.Kill(pid, 0) == nil {
			d.t.Errorf("%s, process %d, is left", name, pid)
		}
	}
	if taken := d.taken(); len(taken) > 0 {
		d.t.Errorf("ports %v are still taken", taken)
	}
}

// pids are the processes that it has noted.
func (d *demo) pids() map[string]int {
	found := map[string]int{}
	files, _ := filepath.Glob(filepath.Join(d.dir, "*.pid"))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			d.t.Errorf("%s holds %q", file, text)
			continue
		}
		found[strings.TrimSuffix(filepath.Base(file), ".pid")] = pid
	}
	return found
}

// taken answers those of its ports that somebody listens on.
func (d *demo) taken() []int {
	var ports []int
	for port := d.base; port < d.base+6; port++ {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			ports = append(ports, port)
			continue
		}
		_ = l.Close()
	}
	return ports
}

func TestProcessTheDemoShowsAFailoverAndEndsByItself(t *testing.T) {
	d := newDemo(t)
	d.start("DEMO_SECONDS=12")
	d.ends(0)
	out := d.output()
	for _, words := range []string{
		"failover  ", "→ answered; the client saw a 200", "auto_disabled (auth_rejected)", " 0 client errors", "The end.",
	} {
		if !strings.Contains(out, words) {
			t.Errorf("it did not say %q", words)
		}
	}
	token, err := os.ReadFile(filepath.Join(d.dir, "client-token"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, strings.TrimSpace(string(token))) || strings.Contains(out, "pretend-") {
		t.Error("it shows a client token or an upstream key")
	}
	for line := range strings.Lines(out) {
		if utf8.RuneCountInString(line) > 111 && !strings.Contains(line, d.dir) { // the folder of a test is long
			t.Errorf("too wide: %s", line)
		}
	}
	if len(d.pids()) != 4 {
		t.Errorf("it noted %v", d.pids())
	}
	if t.Failed() {
		t.Log(out)
	}
}

func TestProcessTheDemoOutlivesItsControlPlaneAndObeysCtrlC(t *testing.T) {
	d := newDemo(t)
	d.start("APIPOOL_ADMIN_TOKEN_FILE=/no/such/file") // what another pool left in the shell
	d.says("failover  ")
	first := d.pids()["controlplane"]
	_ = syscall.Kill(first, syscall.SIGKILL)
	d.says("the control plane is back")
	if d.pids()["controlplane"] == first {
		t.Error("the control plane was not started again")
	}
	if !strings.Contains(d.output(), "and saw 0 errors") {
		t.Errorf("clients noticed:\n%s", d.output())
	}
	interrupt := os.Interrupt
	if signal.Ignored(interrupt) { // by a shell without job control; then the script cannot hear it either
		interrupt = syscall.SIGTERM
	}
	_ = d.cmd.Process.Signal(interrupt)
	d.ends(0)
}

func TestProcessTheDemoStartsNothingIfAPortIsTaken(t *testing.T) {
	d := newDemo(t)
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", d.base+3))
	if err != nil {
		t.Fatal(err)
	}
	d.start()
	<-d.done
	_ = l.Close()
	d.ends(1)
	if want := fmt.Sprintf("Port %d, which is for eu-west-1 (metrics), is taken", d.base+3); !strings.Contains(d.output(), want) {
		t.Errorf("it did not say %q:\n%s", want, d.output())
	}
	if left, _ := os.ReadDir(d.dir); len(left) > 0 {
		t.Errorf("it made %v", left)
	}
}

func TestProcessTheDemoRemovesNothingThatItDidNotMake(t *testing.T) {
	d := newDemo(t)
	mine := filepath.Join(d.dir, "controlplane")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	d.ends(1)
	if text, err := os.ReadFile(mine); err != nil || string(text) != "mine" {
		t.Errorf("the file holds %q: %v", text, err)
	}
}
