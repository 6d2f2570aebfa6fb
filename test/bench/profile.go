package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

// profiles takes profiles of each data plane while it is saturated, after all has been measured: a profile costs time. CPU is
// that of the profile's seconds, allocations are all since the process started.
func (b *bench) profiles(ctx context.Context) error {
	if err := os.MkdirAll(b.profile, 0o755); err != nil { //nolint:gosec // a profile holds no secret
		return err
	}
	for _, n := range b.keys {
		s, err := b.subject(ctx, poolName(n))
		if err != nil {
			return err
		}
		if err := b.profileOf(ctx, s); err != nil {
			return fmt.Errorf("profile of %s: %w", s.name, err)
		}
	}
	return nil
}

// profileOf has the load last a little longer than the profile.
func (b *bench) profileOf(ctx context.Context, s *subject) error {
	c, err := b.crowd(ctx, s)
	if err != nil {
		return err
	}
	defer c.Close()
	seconds := max(1, int(b.lasts.Seconds()))
	taken := make(chan error, 1)
	go func() { taken <- b.save(ctx, s, "cpu", fmt.Sprintf("profile?seconds=%d", seconds)) }()
	_, err = c.Saturate(ctx, load.NewAsk(s.target, upstream.Whole()), time.Duration(seconds)*time.Second+warmUp)
	if err := errors.Join(err, <-taken); err != nil {
		return err
	}
	return b.save(ctx, s, "allocs", "allocs")
}

func (b *bench) save(ctx context.Context, s *subject, kind, from string) error {
	data, err := fetch(ctx, "http://"+s.fleet.ops+"/debug/pprof/"+from)
	if err != nil {
		return err
	}
	path := filepath.Join(b.profile, fmt.Sprintf("%s-%d.pprof", kind, s.fleet.keys))
	fmt.Fprintf(b.progress, "%s: go tool pprof -top %s %s\n", s.name, filepath.Join(b.bin, "dataplane"), path)
	return os.WriteFile(path, data, 0o644)
}
