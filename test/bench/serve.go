package main

import (
	"context"
	"errors"
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
	switch {
	case len(args) == 2 && args[0] == pretended:
		l, err := net.Listen("tcp", args[1])
		if err != nil {
			return err
		}
		return upstream.Serve(ctx, l)
	case len(args) == 3 && args[0] == hand:
		return serveProxy(ctx, args[1], bare.Hand(bareConfig(args[2])))
	case len(args) == 3 && args[0] == reverse:
		return serveProxy(ctx, args[1], bare.Reverse(bareConfig(args[2])))
	default:
		return errors.New("serve needs a server's name and its addresses")
	}
}

func bareConfig(upstream string) bare.Config {
	return bare.Config{Upstream: upstream, Key: os.Getenv(keyVariable)}
}

func serveProxy(ctx context.Context, addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
