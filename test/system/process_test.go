package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"ollama-api-pool/test/fakellm"
)

// fleet is the real binaries on loopback, with the pretend upstream in the test's own process. Logs are at level debug.
type fleet struct {
	*operator
	dir     string
	webs    []*httptest.Server // of pretend upstreams
	control *process
	nodes   map[string]*process
	ports   map[string]string // what → address
	under   []string          // command that starts the next processes, such as prlimit with its options
	env     []string          // of the next processes, besides the test's own

	poisoned bool // the control plane is to break invariants
	restored bool // a backup of the control plane is put back
}

// process is one running binary.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{}
}

// built is where the binaries are; empty: none have been built.
var built string

var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "apipool-bin-")
	if err != nil {
		return "", err
	}
	built = dir
	what, cgo := []string{"build", "-o", dir + "/"}, "CGO_ENABLED=0"
	if watchesRaces && os.Getenv("APIPOOL_TEST_FAULTS") != "" { // then the binaries watch for them too
		what, cgo = append(what, "-race"), "CGO_ENABLED=1"
	}
	build := exec.Command("go", append(what, "./controlplane", "./dataplane", "./test/demo")...)
	build.Dir = "../.."
	build.Env = append(os.Environ(), cgo)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// processes starts a control plane and nodes ("name@region") and waits until all serve.
func processes(t *testing.T, nodes ...string) *fleet {
	t.Helper()
	return processesBefore(t, fakellm.Config{Dialect: fakellm.Ollama, KeepHeaders: true}, nodes...)
}

// processesBefore is processes in front of an upstream of this kind.
func processesBefore(t *testing.T, kind fakellm.Config, nodes ...string) *fleet {
	t.Helper()
	return processesSet(t, kind, nil, nodes...)
}

// processesSet is processesBefore with settings in the environment of both planes ("APIPOOL_GRACE=1s").
func processesSet(t *testing.T, kind fakellm.Config, settings []string, nodes ...string) *fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("starts real processes")
	}
	if _, err := binaries(); err != nil {
		t.Fatal(err)
	}
	upstream := fakellm.New(kind)
	web := httptest.NewServer(upstream)
	t.Cleanup(web.Close)
	f := &fleet{dir: t.TempDir(), webs: []*httptest.Server{web}, nodes: map[string]*process{}, ports: map[string]string{}, env: settings}
	f.operator = &operator{
		t: t, token: adminToken, logs: &logs{}, upstream: upstream, client: &http.Client{Timeout: 30 * time.Second},
	}
	t.Cleanup(f.stop)
	f.startControl()
	for _, n := range nodes {
		f.startNode(n)
	}
	f.admin("PATCH", "/admin/providers/ollama", fmt.Sprintf(`{"baseUrl":%q,"allowPrivateAddresses":true}`, web.URL), nil)
	for _, n := range nodes {
		id, _, _ := strings.Cut(n, "@")
		f.wait("http://" + f.port(id+"-ops") + "/readyz")
	}
	return f
}

// port answers the loopback address that stands for a name, the same one over restarts.
func (f *fleet) port(name string) string {
	if f.ports[name] == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			f.t.Fatal(err)
		}
		f.ports[name] = l.Addr().String()
		_ = l.Close()
	}
	return f.ports[name]
}

func (f *fleet) startControl() {
	f.t.Helper()
	f.control = f.start("control", "controlplane", []string{
		"serve", "--data-dir", f.path("control"), "--node-listen", f.port("control"), "--admin-listen", f.port("admin"),
		"--log-level", "debug",
	})
	f.base = "http://" + f.port("admin")
	f.wait(f.base + "/readyz")
}

func (f *fleet) startNode(name string, more ...string) {
	f.t.Helper()
	id, region, _ := strings.Cut(name, "@")
	f.nodes[id] = f.start(id, "dataplane", append([]string{
		"--data-dir", f.path(id), "--control-plane", f.port("control"), "--listen", f.port(id),
		"--ops-listen", f.port(id + "-ops"), "--node-id", id, "--region", region, "--log-level", "debug",
	}, more...))
}

func (f *fleet) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fleet) start(name, binary string, args []string) *process {
	f.t.Helper()
	dir, err := binaries()
	if err != nil {
		f.t.Fatal(err)
	}
	log, err := os.OpenFile(f.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.t.Fatal(err)
	}
	line := slices.Concat(f.under, []string{filepath.Join(dir, binary)}, args)
	p := &process{cmd: exec.Command(line[0], line[1:]...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = slices.Concat(os.Environ(), []string{"APIPOOL_ADMIN_TOKEN=" + adminToken, "APIPOOL_JOIN_TOKEN=" + joinToken}, f.env)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // never outlives the test
	if err := p.cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
		_ = log.Close()
	}()
	return p
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// end is SIGTERM, and the exit code that follows.
func (p *process) end() int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(40 * time.Second):
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

func (f *fleet) stop() {
	f.wantNoViolations()
	for id, p := range f.nodes {
		if code := p.end(); code != 0 {
			f.t.Errorf("node %s ended with code %d", id, code)
		}
	}
	if f.control != nil {
		if code := f.control.end(); code != 0 {
			f.t.Errorf("the control plane ended with code %d", code)
		}
	}
	if f.t.Failed() {
		for _, path := range f.logFiles() {
			text, _ := os.ReadFile(path)
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			f.t.Logf("the end of %s:\n%s", filepath.Base(path), strings.Join(lines[max(len(lines)-15, 0):], "\n"))
		}
	}
}

func (f *fleet) logFiles() []string {
	files, _ := filepath.Glob(f.path("*.log"))
	return files
}

// wait waits until the url answers 200.
func (f *fleet) wait(url string) {
	f.t.Helper()
	for range 300 {
		if resp, err := f.client.Get(url); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.t.Fatalf("%s did not answer 200", url)
}

// settle waits until what the control plane has counted stays the same: everything has been reported.
func (f *fleet) settle() figures {
	f.t.Helper()
	var last figures
	same := 0
	for range 60 {
		time.Sleep(500 * time.Millisecond)
		if now := f.stats(); now == last {
			same++
		} else {
			last, same = now, 0
		}
		if same >= 6 {
			break
		}
	}
	return last
}

// load is clients of the real library, with retries of their own switched off, that send until told to stop.
type load struct {
	f       *fleet
	token   string
	nodes   []string
	pause   time.Duration // between two requests of a client
	sent    atomic.Int64
	mu      sync.Mutex
	started map[string]time.Time
	errs    []error
}

// run has `clients` clients send `total` requests among them, or until ctx ends when total is 0.
func (l *load) run(ctx context.Context, clients, total int) {
	l.started = map[string]time.Time{}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			api := openai.NewClient(option.WithBaseURL("http://"+l.f.port(l.nodes[n%len(l.nodes)])+"/v1"),
				option.WithAPIKey(l.token), option.WithMaxRetries(0))
			for ctx.Err() == nil {
				i := l.sent.Add(1)
				if total > 0 && i > int64(total) {
					l.sent.Add(-1)
					return
				}
				id := fmt.Sprintf("r%d", i)
				l.mu.Lock()
				l.started[id] = time.Now()
				l.mu.Unlock()
				// Not the story's context: what has begun is to be answered.
				if err := ask(l.f.t.Context(), api, id, i%2 == 0); err != nil {
					l.mu.Lock()
					l.errs = append(l.errs, fmt.Errorf("%s: %w", id, err))
					l.mu.Unlock()
				}
				time.Sleep(l.pause)
			}
		})
	}
	wg.Wait()
}

// ask sends one request and reads the answer as the library does.
func ask(ctx context.Context, api openai.Client, id string, stream bool) error {
	params := openai.ChatCompletionNewParams{
		Model: fakellm.DefaultModel, User: openai.String(id),
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello " + id)},
	}
	want := fakellm.Answer("hello " + id)
	if !stream {
		got, err := api.Chat.Completions.New(ctx, params)
		if err != nil {
			return err
		}
		if len(got.Choices) != 1 || got.Choices[0].Message.Content != want {
			return fmt.Errorf("answered %q", got.RawJSON())
		}
		return nil
	}
	events := api.Chat.Completions.NewStreaming(ctx, params)
	defer events.Close()
	var text strings.Builder
	finished := false
	for events.Next() {
		for _, c := range events.Current().Choices {
			text.WriteString(c.Delta.Content)
			finished = finished || c.FinishReason != ""
		}
	}
	switch {
	case events.Err() != nil:
		return events.Err()
	case text.String() != want || !finished:
		return fmt.Errorf("streamed %q, finished %v", text.String(), finished)
	}
	return nil
}

// wantNoErrors fails the test with the first few errors that clients saw.
func (l *load) wantNoErrors() {
	l.f.t.Helper()
	if len(l.errs) > 0 {
		l.f.t.Errorf("%d of %d requests failed at the client: %v", len(l.errs), l.sent.Load(), errors.Join(l.errs[:min(len(l.errs), 5)]...))
	}
}
