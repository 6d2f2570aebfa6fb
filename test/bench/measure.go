package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"ollama-api-pool/test/bench/load"
	"ollama-api-pool/test/bench/upstream"
)

// figures are what one measurement gave, by the metric's name.
type figures map[string]float64

// usage is the CPU time of everybody who takes part, and of the whole machine.
type usage struct{ proxy, control, load, upstream, machine time.Duration }

// others is what those used who have no part in this.
func (u usage) others() time.Duration {
	return u.machine - u.proxy - u.control - u.load - u.upstream
}

func (b *bench) usage(s *subject) (u usage, err error) {
	if u.proxy, err = s.cpu(); err != nil {
		return u, err
	}
	if s.fleet != nil {
		if u.control, err = cpuOf(s.fleet.control.pid()); err != nil {
			return u, err
		}
	}
	if u.load, err = cpuOf(os.Getpid()); err != nil {
		return u, err
	}
	if u.upstream, err = cpuOf(b.provider.pid()); err != nil {
		return u, err
	}
	u.machine, err = busyOf()
	return u, err
}

const warmUp = 300 * time.Millisecond

// crowd opens connections and has them used, so that the proxy has its own to the upstream.
func (b *bench) crowd(ctx context.Context, s *subject) (*load.Crowd, error) {
	c, err := load.Dial(ctx, s.target, b.conns, false)
	if err != nil {
		return nil, err
	}
	if _, err := c.Saturate(ctx, load.NewAsk(s.target, upstream.Whole()), warmUp); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// window measures what everybody uses while do runs. CPU time is told per 10,000 of what unit counts.
func (b *bench) window(s *subject, unit func(load.Result) int, do func() (load.Result, error)) (load.Result, figures, error) {
	before, err := b.usage(s)
	if err != nil {
		return load.Result{}, nil, err
	}
	r, err := do()
	if err != nil {
		return r, nil, err
	}
	after, err := b.usage(s)
	if err != nil {
		return r, nil, err
	}
	n := unit(r)
	if n == 0 {
		return r, nil, fmt.Errorf("nothing was answered in %s", r.Elapsed)
	}
	per := func(from, to time.Duration) float64 { return (to - from).Seconds() * 10_000 / float64(n) }
	share := func(from, to time.Duration) float64 { return (to - from).Seconds() / r.Elapsed.Seconds() }
	f := figures{
		"load_cores": share(before.load, after.load), "upstream_cores": share(before.upstream, after.upstream),
		"others_cores": share(before.others(), after.others()),
	}
	if s.proc != nil {
		f["cpu"] = per(before.proxy, after.proxy)
		f["proxy_cores"] = share(before.proxy, after.proxy)
	}
	if s.fleet != nil {
		f["control_cpu"] = per(before.control, after.control)
	}
	return r, f, nil
}

func requests(r load.Result) int { return r.Requests }

func events(r load.Result) int { return r.Events }

// saturate is a closed loop.
func saturate(ctx context.Context, b *bench, s *subject) (figures, error) {
	c, err := b.crowd(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, f, err := b.window(s, requests, func() (load.Result, error) {
		return c.Saturate(ctx, load.NewAsk(s.target, upstream.Whole()), b.lasts)
	})
	if err != nil {
		return nil, err
	}
	f["rate"] = float64(r.Requests) / r.Elapsed.Seconds()
	f.times("", r.Latencies)
	return f, nil
}

// pace is an open loop.
func pace(rate int) func(context.Context, *bench, *subject) (figures, error) {
	return func(ctx context.Context, b *bench, s *subject) (figures, error) {
		c, err := b.crowd(ctx, s)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		r, f, err := b.window(s, requests, func() (load.Result, error) {
			return c.Pace(ctx, load.NewAsk(s.target, upstream.Whole()), rate, b.lasts)
		})
		if err != nil {
			return nil, err
		}
		f.times("", r.Latencies)
		return f, nil
	}
}

// streams has every connection hear streams, one after the other.
func streams(ctx context.Context, b *bench, s *subject) (figures, error) {
	c, err := b.crowd(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	q := upstream.Steps(100, 10*time.Millisecond)
	takes := time.Duration(q.Events) * q.Every
	r, f, err := b.window(s, events, func() (load.Result, error) {
		return c.Repeat(ctx, load.NewAsk(s.target, q), max(1, int(b.lasts/takes)), takes)
	})
	if err != nil {
		return nil, err
	}
	f.times("first_", r.FirstBytes)
	return f, nil
}

// begin starts short streams at a fixed rate.
func begin(ctx context.Context, b *bench, s *subject) (figures, error) {
	c, err := b.crowd(ctx, s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, f, err := b.window(s, requests, func() (load.Result, error) {
		return c.Pace(ctx, load.NewAsk(s.target, upstream.Steps(20, 10*time.Millisecond)), 100, b.lasts)
	})
	if err != nil {
		return nil, err
	}
	f.times("first_", r.FirstBytes)
	return f, nil
}

func (f figures) times(prefix string, times []time.Duration) {
	f[prefix+"p50"] = milliseconds(percentile(times, 50))
	f[prefix+"p99"] = milliseconds(percentile(times, 99))
}
