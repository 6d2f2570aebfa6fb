package compose

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const (
	root    = "../.."
	patient = 3 * time.Minute // far longer than anything here takes; only a test that fails waits so long
)

// fleet is docker-compose.yml, running, and an operator beside it.
type fleet struct {
	t          *testing.T
	compose    []string // how Compose is called
	adminToken string
	token      string  // a client's
	got        float64 // requests that clients have got an answer to
}

// run runs a program in the repository's root and answers what it prints on standard output.
func (f *fleet) run(stdin string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = root
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, tail(errs.String()))
	}
	return out.String()
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func (f *fleet) docker(args ...string) string {
	f.t.Helper()
	return f.run("", append([]string{"docker"}, args...)...)
}

func (f *fleet) up(args ...string) {
	f.t.Helper()
	start := time.Now()
	f.run("", append(append(f.compose, "up", "-d"), args...)...)
	f.t.Logf("up %v (%v)", args, time.Since(start).Round(time.Second))
	f.wait("every service is healthy, and init has ended well", func() bool {
		for _, service := range []string{"controlplane", "dataplane-eu-west", "dataplane-us-east", "prometheus"} {
			if f.inspect(service).State.Health.Status != "healthy" {
				return false
			}
		}
		init := f.inspect("init").State
		return init.Status == "exited" && init.ExitCode == 0
	})
	for _, url := range regions {
		f.wait(url.ops+" is ready", func() bool { return f.get(url.ops+"/readyz").status == http.StatusOK })
	}
}

// exec types a command in a running container.
func (f *fleet) exec(stdin, service string, args ...string) string {
	f.t.Helper()
	return f.run(stdin, append(append(f.compose, "exec", "-T", service), args...)...)
}

func (f *fleet) container(service string) string {
	f.t.Helper()
	id := strings.TrimSpace(f.docker("ps", "-aq", "--no-trunc",
		"--filter", "label=com.docker.compose.project="+os.Getenv("COMPOSE_PROJECT_NAME"),
		"--filter", "label=com.docker.compose.service="+service))
	if id == "" || strings.Contains(id, "\n") {
		f.t.Fatalf("%s is not one container: %q", service, id)
	}
	return id
}

// container is what the engine says of one.
type container struct {
	State struct {
		Status   string
		ExitCode int
		Health   struct{ Status string }
	}
	RestartCount int
	Config       struct{ User string }
	HostConfig   struct {
		ReadonlyRootfs bool
		Privileged     bool
		CapDrop        []string
		SecurityOpt    []string
		PortBindings   map[string][]struct{ HostIP string }
	}
}

func (f *fleet) inspect(service string) container {
	f.t.Helper()
	var all []container
	if err := json.Unmarshal([]byte(f.docker("inspect", f.container(service))), &all); err != nil {
		f.t.Fatal(err)
	}
	return all[0]
}

// file reads a file of a container as the head of docker-compose.yml says, and answers what the engine knows of it.
func (f *fleet) file(service, path string) (*tar.Header, string) {
	f.t.Helper()
	archive := tar.NewReader(strings.NewReader(f.docker("cp", f.container(service)+":"+path, "-")))
	head, err := archive.Next()
	if err != nil {
		f.t.Fatalf("%s of %s: %v", path, service, err)
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		f.t.Fatal(err)
	}
	return head, string(text)
}

// private reads a credential, and sees to it that nobody but the service can.
func (f *fleet) private(service, path string) string {
	f.t.Helper()
	head, text := f.file(service, path)
	if head.FileInfo().Mode() != 0o600 || head.Uid != 65532 || head.Gid != 65532 {
		f.t.Errorf("%s of %s: mode %v, owner %d:%d", path, service, head.FileInfo().Mode(), head.Uid, head.Gid)
	}
	return strings.TrimSpace(text)
}

func (f *fleet) wait(what string, done func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patient); !done(); time.Sleep(500 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("it never came to this: %s", what)
		}
	}
}

type answer struct {
	status int
	body   string
}

func (f *fleet) get(url string) answer { return f.call(http.MethodGet, url, "", "") }

func (f *fleet) call(method, url, token, body string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{0, err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{0, err.Error()}
	}
	return answer{resp.StatusCode, string(text)}
}

// admin calls REST and fails unless it answers 200.
func (f *fleet) admin(method, path, body string, into any) {
	f.t.Helper()
	got := f.call(method, adminURL+path, f.adminToken, body)
	if got.status != http.StatusOK {
		f.t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	f.decode(got.body, into)
}

func (f *fleet) decode(text string, into any) {
	f.t.Helper()
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		f.t.Fatalf("%v in %s", err, text)
	}
}

// left answers what of the project the engine still has.
func (f *fleet) left() string {
	project := "label=com.docker.compose.project=" + os.Getenv("COMPOSE_PROJECT_NAME")
	var all strings.Builder
	for _, list := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
		if out := strings.Fields(f.docker(append(list, "--filter", project)...)); len(out) > 0 {
			fmt.Fprintln(&all, list[0], out)
		}
	}
	return all.String()
}
