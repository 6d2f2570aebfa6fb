package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"ollama-api-pool/test/bench/bare"
	"ollama-api-pool/test/bench/upstream"
)

// serving is the first argument of this program when it is to be one of the benchmark's servers.
const serving = "serve"

// keyVariable holds the key of a bare proxy: not an argument, which others could read.
const keyVariable = "BENCH_UPSTREAM_KEY"

const pretended = "upstream"

// serve is one of the servers until ctx ends: its name, where it listens and, for a proxy, where it forwards to.
func serve(ctx context.Context, args []string) error {
	if len(args) < 2 {
		return errors.New("serve needs a name and an address")
	}
	l, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	if args[0] == pretended {
		return upstream.Serve(ctx, l)
	}
	if len(args) < 3 {
		return errors.New("a proxy needs an upstream")
	}
	config := bare.Config{Upstream: args[2], Key: os.Getenv(keyVariable)}
	var h http.Handler
	switch args[0] {
	case hand:
		h = bare.Hand(config)
	case reverse:
		h = bare.Reverse(config)
	default:
		return fmt.Errorf("nothing here is called %q", args[0])
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
