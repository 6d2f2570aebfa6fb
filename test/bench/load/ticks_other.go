//go:build !linux

package load

import "time"

// ticks counts by Go's own timers, which is good enough to try the rest.
type ticks struct {
	every, told time.Duration
	start       time.Time
}

func newTicks(every time.Duration) (*ticks, error) {
	return &ticks{every: every, start: time.Now()}, nil
}

func (t *ticks) next() (int, error) {
	time.Sleep(time.Until(t.start.Add(t.told + t.every)))
	n := int((time.Since(t.start) - t.told) / t.every)
	t.told += time.Duration(n) * t.every
	return n, nil
}

func (t *ticks) close() {}
