package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// listenLoopback refuses any address that other machines could reach.
func listenLoopback(ctx context.Context, address string) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("%s is not a loopback address", address)
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr.String())
}

type server struct {
	ln      net.Listener
	handler http.Handler
}

// serve runs the servers until ctx is done or one of them fails. Requests under
// way are canceled then, rather than waited for: some would hang for ever.
func serve(ctx context.Context, servers ...server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		srv := &http.Server{
			Handler:           s.handler,
			BaseContext:       func(net.Listener) context.Context { return ctx },
			ReadHeaderTimeout: time.Minute,
		}
		wg.Go(func() {
			defer cancel()
			if err := srv.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
				errs[i] = err
			}
		})
		wg.Go(func() {
			<-ctx.Done()
			// Long enough for handlers to note their outcome, no longer.
			grace, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer done()
			if srv.Shutdown(grace) != nil {
				_ = srv.Close()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
