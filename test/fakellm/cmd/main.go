// Command fakellm is the pretend provider of package fakellm as a process of its
// own, for tests with real processes and for demonstrations.
//
//	go run ./test/fakellm/cmd --accept-any-key
//
// It prints one line of JSON with the addresses it listens on, serves until
// SIGTERM or SIGINT, and listens on loopback only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	// A second signal, while the first is being obeyed, kills.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakellm:", err)
		os.Exit(1)
	}
}
