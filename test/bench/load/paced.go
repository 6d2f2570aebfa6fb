package load

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// pacedConn is a connection whose requests are sent by one goroutine and whose answers are read by another.
type pacedConn struct {
	*conn
	intended atomic.Int64 // when its request was to begin, in nanoseconds since the start
}

// paced is one run at a fixed rate.
type paced struct {
	ask    *Ask
	start  time.Time
	free   chan *pacedConn // holds those that wait for no answer
	ending atomic.Bool     // no answer is awaited any more
	sum    tally
}

// Pace begins requests at a fixed rate, whether or not those before have been answered. A request's time counts from when it
// was to begin: if every connection is busy, or this program is late, that is part of what a client would have waited, and is
// not left out.
func (c *Crowd) Pace(ctx context.Context, a Ask, rate int, lasts time.Duration) (Result, error) {
	p := &paced{ask: &a, free: make(chan *pacedConn, len(c.conns))}
	conns := make([]*pacedConn, len(c.conns))
	for i, one := range c.conns {
		conns[i] = &pacedConn{conn: one}
		if err := one.SetDeadline(time.Now().Add(lasts + patience + time.Duration(a.Events)*a.Every)); err != nil {
			return Result{}, err
		}
		p.free <- conns[i]
	}
	every := time.Second / time.Duration(rate)
	n := int(lasts / every)
	p.start = time.Now()
	err := each(ctx, len(conns)+1, func(ctx context.Context, i int) error {
		if i < len(conns) {
			return p.read(ctx, conns[i])
		}
		err := p.begin(ctx, every, n)
		p.sum.Elapsed = time.Since(p.start)
		p.ending.Store(true)
		for _, one := range conns { // ends the readers
			_ = one.SetDeadline(time.Unix(1, 0))
		}
		return err
	})
	if err != nil {
		return Result{}, fmt.Errorf("after %d good answers: %w", p.sum.Requests, err)
	}
	return p.sum.Result, nil
}

// begin begins n requests, one each interval, and returns when all have been answered.
func (p *paced) begin(ctx context.Context, every time.Duration, n int) error {
	ticks, err := newTicks(every)
	if err != nil {
		return err
	}
	defer ticks.close()
	for due, i := 0, 0; i < n; i++ {
		for due == 0 {
			if due, err = ticks.next(); err != nil {
				return err
			}
		}
		due--
		one := p.take(ctx)
		if one == nil {
			return nil
		}
		one.intended.Store(int64(every) * int64(i+1)) // the first tick comes after an interval
		if err := one.send(p.ask); err != nil {
			return err
		}
	}
	for range cap(p.free) {
		if p.take(ctx) == nil {
			return nil
		}
	}
	return nil
}

// take waits for a connection that is free; nil: the run is over.
func (p *paced) take(ctx context.Context) *pacedConn {
	select {
	case one := <-p.free:
		return one
	case <-ctx.Done():
		return nil
	}
}

// read reads a connection's answers until the run ends.
func (p *paced) read(ctx context.Context, one *pacedConn) error {
	var mine Result
	defer p.sum.add(&mine)
	for {
		first, err := one.receive(p.ask)
		switch {
		case p.ending.Load() || ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		mine.note(p.ask, p.start.Add(time.Duration(one.intended.Load())), first, time.Now())
		p.free <- one
	}
}
