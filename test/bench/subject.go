package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

// subject is a proxy under test. One without a way to start is the upstream itself, asked directly.
type subject struct {
	name   string
	target load.Target
	boot   func(context.Context) (*process, error) // starts it
	ready  func(context.Context, *process) error   // waits until it serves; nil: at once
	fleet  *fleet                                  // of a pool

	proc *process // nil: not running
}

// Names of subjects.
const (
	direct  = "direct"
	nginx   = "nginx"
	hand    = "bare"
	reverse = "reverse"
)

// start starts it if it is not running.
func (s *subject) start(ctx context.Context) error {
	if s.boot == nil || s.proc != nil {
		return nil
	}
	var err error
	if s.proc, err = s.boot(ctx); err != nil {
		return err
	}
	if s.ready != nil {
		return s.ready(ctx, s.proc)
	}
	return nil
}

func (s *subject) stop() {
	s.proc.stop()
	s.proc = nil
}

// restart has it begin anew, for figures of memory, which depend on what went before.
func (s *subject) restart(ctx context.Context) error {
	s.stop()
	return s.start(ctx)
}

// lastWords are what the proxy has to say of a failure.
func (s *subject) lastWords() string {
	if s.proc == nil {
		return ""
	}
	words := s.proc.lastWords()
	if words == "" {
		return ""
	}
	return "\nThe end of its log:\n" + words
}

// cpu is what it has used; 0 for the upstream itself.
func (s *subject) cpu() (time.Duration, error) {
	if s.proc == nil {
		return 0, nil
	}
	return cpuOf(s.proc.pid())
}

func (b *bench) directSubject() *subject {
	return &subject{name: direct, target: load.Target{Addr: b.upstream, Credential: b.key}}
}

// bareSubject is one of the proxies beside this program, which is started anew to be it.
func (b *bench) bareSubject(name string) (*subject, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run := program{
		name: name, core: b.cores.proxy, dir: b.dir,
		args: []string{self, serving, name, addr, b.upstream}, env: []string{keyVariable + "=" + b.key},
	}
	return b.listener(run, addr), nil
}

// listener is a subject that serves as soon as it listens.
func (b *bench) listener(run program, addr string) *subject {
	boot := func(ctx context.Context) (*process, error) {
		p, err := run.start()
		if err != nil {
			return nil, err
		}
		return p, p.listening(ctx, addr)
	}
	return &subject{name: run.name, target: load.Target{Addr: addr, Credential: "client"}, boot: boot}
}

// poolSubject is our data plane with its control plane.
func (b *bench) poolSubject(ctx context.Context, keys int) (*subject, error) {
	f, err := openFleet(ctx, b, keys)
	if err != nil {
		return nil, err
	}
	return &subject{
		name: poolName(keys), target: load.Target{Addr: f.api, Credential: f.token}, fleet: f,
		boot: func(context.Context) (*process, error) { return f.serve() }, ready: f.leased,
	}, nil
}

func poolName(keys int) string {
	return "pool, " + strconv.Itoa(keys) + map[bool]string{true: " key", false: " keys"}[keys == 1]
}

const nginxConfig = `daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr warn; worker_rlimit_nofile %[4]d;
events { worker_connections %[4]d; }
http {
  access_log off; keepalive_timeout 600s; keepalive_requests 1000000000;
  client_body_temp_path %[1]s/nginx-body; proxy_temp_path %[1]s/nginx-proxy; fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi; scgi_temp_path %[1]s/nginx-scgi;
  upstream provider { server %[3]s; keepalive 512; keepalive_timeout 600s; keepalive_requests 1000000000; }
  server {
    listen %[2]s;
    location / {
      proxy_pass http://provider; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 600s;
      proxy_set_header Connection ""; proxy_set_header Authorization "Bearer %[5]s";
    }
  }
}
`

// nginxSubject is nginx that forwards and does nothing else, as one process. nil: it is not installed.
func (b *bench) nginxSubject() (*subject, error) {
	path := findNginx()
	if path == "" {
		return nil, nil
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(b.dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, b.dir, addr, b.upstream, b.files, b.key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return b.listener(program{name: nginx, core: b.cores.proxy, dir: b.dir, args: []string{path, "-c", config}}, addr), nil
}

// findNginx also looks where Debian puts it, which is on nobody's path but root's.
func findNginx() string {
	for _, name := range []string{nginx, "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// newKey is a key that the upstream knows.
func newKey(text string) string { return upstream.Key + text }
