// Command demo is what `make demo` shows: the pretend upstream whose keys fail in every way, clients that send it traffic
// through two data planes, and a voice that says what happens. It starts no plane; deploy/demo.sh does, and ends it with SIGTERM.
//
// What it tells comes from three sides that do not know of each other: what clients got (traffic.go), what the upstream was
// asked (ledger.go), and what the control plane says of its keys (watch.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// options are where everything is.
type options struct {
	admin  string // the admin API's host:port
	planes []plane
	dir    string // holds the control plane's folder; the client token is left here
	lasts  time.Duration
}

// plane is a data plane.
type plane struct{ region, api, ops string }

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	fs.StringVar(&o.admin, "admin", "127.0.0.1:7601", "`host:port` of the admin API")
	fs.StringVar(&o.dir, "dir", "data/demo", "the demo's `folder`")
	seconds := fs.Int("seconds", 0, "end after so many seconds; 0: when told to")
	fs.Func("data-plane", "`region,host:port,host:port` of a data plane, its API and its metrics; once for each", func(text string) error {
		parts := strings.Split(text, ",")
		if len(parts) != 3 {
			return errors.New("want three parts")
		}
		o.planes = append(o.planes, plane{parts[0], parts[1], parts[2]})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if len(o.planes) == 0 {
		return o, errors.New("needs a --data-plane")
	}
	o.lasts = time.Duration(*seconds) * time.Second
	return o, nil
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(o.dir, "controlplane", "admin-token"))
	if err != nil {
		return err
	}
	up, err := openUpstream()
	if err != nil {
		return err
	}
	defer up.close()
	op := &operator{base: "http://" + o.admin, token: strings.TrimSpace(string(token)), client: &http.Client{Timeout: 5 * time.Second}}
	d := &demo{options: o, up: up, op: op, say: &voice{out: out}, keys: script()}
	switch err := d.prepare(ctx); {
	case ctx.Err() != nil: // told to end before it began
		return nil
	case err != nil:
		return err
	}
	return d.play(ctx)
}
