package main

import (
	"context"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

const (
	settle   = time.Second // until memory is looked at
	openings = 2000        // streams opened per second, so that memory shows the streams and not a burst
)

// idle measures the memory of streams that say nothing, in a process that has done nothing before.
func idle(streams int) func(context.Context, *bench, *subject) (figures, error) {
	return func(ctx context.Context, _ *bench, s *subject) (figures, error) {
		if err := s.restart(ctx); err != nil {
			return nil, err
		}
		c, err := load.Dial(ctx, s.target, 1, true)
		if err != nil {
			return nil, err
		}
		_, err = c.Repeat(ctx, load.NewAsk(s.target, upstream.Whole()), 1, 0)
		c.Close()
		if err != nil {
			return nil, err
		}
		before, err := settled(ctx, s)
		if err != nil {
			return nil, err
		}
		if c, err = load.Dial(ctx, s.target, streams, true); err != nil {
			return nil, err
		}
		defer c.Close()
		spread := time.Second * time.Duration(streams) / openings
		if _, err := c.Repeat(ctx, load.NewAsk(s.target, upstream.Idle()), 1, spread); err != nil {
			return nil, err
		}
		after, err := settled(ctx, s)
		if err != nil {
			return nil, err
		}
		return figures{"rss": mebibytes(after), "stream": float64(after-before) / float64(streams) / 1024}, nil
	}
}

// rest measures the memory of a data plane that nobody asks anything.
func rest(ctx context.Context, _ *bench, s *subject) (figures, error) {
	if err := s.restart(ctx); err != nil {
		return nil, err
	}
	rss, err := settled(ctx, s)
	return figures{"rss": mebibytes(rss)}, err
}

// settled answers the memory a while from now.
func settled(ctx context.Context, s *subject) (int64, error) {
	select {
	case <-time.After(settle):
		return rssOf(s.proc.pid())
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

// begun measures how long it takes from the start of a process to its first good answer. Until then, any other is as good as
// none.
func begun(ctx context.Context, _ *bench, s *subject) (figures, error) {
	s.stop()
	start := time.Now()
	var err error
	if s.proc, err = s.boot(ctx); err != nil {
		return nil, err
	}
	ask := load.NewAsk(s.target, upstream.Whole())
	err = s.proc.poll(ctx, func() bool {
		c, err := load.Dial(ctx, s.target, 1, false)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Repeat(ctx, ask, 1, 0)
		return err == nil
	})
	return figures{"start": milliseconds(time.Since(start))}, err
}
