package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cores says where everything runs.
type cores struct {
	proxy int // the proxy under test, alone
	rest  int // load, upstream, control plane
}

// noCore lets a process run anywhere.
const noCore = -1

// process is one running program, which has a core for its own use and leaves its words in a file.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// program is what is to be run.
type program struct {
	name string
	core int
	args []string
	env  []string // beside what this process has, without anybody's APIPOOL_…
	dir  string   // for its log
}

// start runs a program. Whoever starts it stops it.
func (p program) start() (*process, error) {
	path := filepath.Join(p.dir, p.name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own

	cmd := exec.CommandContext(context.Background(), p.args[0], p.args[1:]...) //nolint:gosec // planes, nginx and this program itself
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(environment(), p.env...)
	cmd.SysProcAttr = apart()
	if err := onCore(p.core, cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	run := &process{name: p.name, cmd: cmd, log: path, done: make(chan struct{})}
	go func() {
		defer close(run.done) // stop waits for it
		_ = cmd.Wait()
	}()
	return run, nil
}

func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "APIPOOL_") {
			env = append(env, e)
		}
	}
	return env
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends it with SIGTERM, and with SIGKILL if it takes too long.
func (p *process) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// up waits until the url answers 200.
func (p *process) up(ctx context.Context, url string) error {
	return p.poll(ctx, func() bool {
		resp, err := get(ctx, url)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// listening waits until the address takes connections.
func (p *process) listening(ctx context.Context, addr string) error {
	return p.poll(ctx, func() bool {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

const startTime = time.Minute // for a plane with a great many keys on a busy machine

func (p *process) poll(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for !ready() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not come up: %w\n%s", p.name, ctx.Err(), p.lastWords())
		case <-p.done:
			return fmt.Errorf("%s has ended by itself\n%s", p.name, p.lastWords())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// lastWords is the end of its log. No program here writes a secret into it.
func (p *process) lastWords() string {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(len(lines)-5, 0):], "\n")
}

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil) //nolint:gosec // what was started here, on loopback
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req) //nolint:gosec // what was started here, on loopback
}

// fetch reads what a url answers.
func fetch(ctx context.Context, url string) ([]byte, error) {
	resp, err := get(ctx, url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// freeAddr answers a loopback address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
