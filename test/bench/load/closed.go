package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// tally gathers what the connections have noted, each when it is done.
type tally struct {
	mu sync.Mutex // guards all
	Result
}

func (t *tally) add(r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Requests += r.Requests
	t.Events += r.Events
	t.Latencies = append(t.Latencies, r.Latencies...)
	t.FirstBytes = append(t.FirstBytes, r.FirstBytes...)
}

// note counts an answer.
func (r *Result) note(a *Ask, start, first, end time.Time) {
	r.Requests++
	r.Events += a.Events
	r.Latencies = append(r.Latencies, end.Sub(start))
	r.FirstBytes = append(r.FirstBytes, first.Sub(start))
}

// Saturate has every connection ask again as soon as it is answered, for so long.
func (c *Crowd) Saturate(ctx context.Context, a Ask, lasts time.Duration) (Result, error) {
	start := time.Now()
	until := start.Add(lasts)
	return c.all(ctx, start, func(ctx context.Context, _ int, one *conn, mine *Result) error {
		for ctx.Err() == nil && time.Now().Before(until) {
			if err := one.ask(&a, mine); err != nil {
				return err
			}
		}
		return nil
	})
}

// Repeat has every connection ask so many times, one after the other. They begin spread over an interval, so that they do not
// go in step. Of a stream that stays open, an answer is what comes before the silence; it stays open until Close.
func (c *Crowd) Repeat(ctx context.Context, a Ask, times int, spread time.Duration) (Result, error) {
	start := time.Now()
	return c.all(ctx, start, func(ctx context.Context, i int, one *conn, mine *Result) error {
		wait(ctx, start.Add(spread*time.Duration(i)/time.Duration(len(c.conns))))
		for left := times; left > 0 && ctx.Err() == nil; left-- {
			if err := one.ask(&a, mine); err != nil {
				return err
			}
		}
		return nil
	})
}

// all runs the connections side by side until each is done, or one of them fails.
func (c *Crowd) all(ctx context.Context, start time.Time, do func(context.Context, int, *conn, *Result) error) (Result, error) {
	var sum tally
	err := each(ctx, len(c.conns), func(ctx context.Context, i int) error {
		one := c.conns[i]
		leave := context.AfterFunc(ctx, func() { _ = one.SetDeadline(time.Unix(1, 0)) })
		defer leave()
		var mine Result
		defer sum.add(&mine)
		return do(ctx, i, one, &mine)
	})
	sum.Elapsed = time.Since(start)
	if err != nil {
		return Result{}, fmt.Errorf("after %d good answers: %w", sum.Requests, err)
	}
	return sum.Result, nil
}

func (c *conn) ask(a *Ask, mine *Result) error {
	start := time.Now()
	if err := c.SetDeadline(start.Add(patience + time.Duration(a.Events)*a.Every)); err != nil {
		return err
	}
	if err := c.send(a); err != nil {
		return err
	}
	first, err := c.receive(a)
	if err != nil {
		return err
	}
	mine.note(a, start, first, time.Now())
	return nil
}

func wait(ctx context.Context, until time.Time) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
