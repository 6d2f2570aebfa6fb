package proxy

import (
	"sync/atomic"
	"time"
)

// watch ends an attempt whose upstream is silent for too long. While nobody waits for the upstream, because the client is
// slow to take what has come, its silence does not count. To wait and to pause costs next to nothing, as it is done for
// every event of every stream: the timer is left alone, and finds out what is true when it fires.
type watch struct {
	start time.Time
	tell  func()
	timer *time.Timer
	limit atomic.Int64 // of the silence
	since atomic.Int64 // start of the waiting, after start; 0: nobody waits
	over  atomic.Bool
}

// newWatch waits from now on.
func newWatch(limit time.Duration, tell func()) *watch {
	w := &watch{start: time.Now().Add(-1), tell: tell} // so that no time after it is 0
	w.limit.Store(int64(limit))
	w.wait()
	w.timer = time.AfterFunc(limit, w.fired)
	return w
}

func (w *watch) wait() { w.since.Store(int64(time.Since(w.start))) }

func (w *watch) pause() { w.since.Store(0) }

// restart waits from now on, for as long as another limit says.
func (w *watch) restart(limit time.Duration) {
	w.limit.Store(int64(limit))
	w.wait()
	w.timer.Reset(limit)
}

// stop ends the watch; from now on it tells nothing, but for what it is about to tell.
func (w *watch) stop() {
	w.over.Store(true)
	w.timer.Stop()
}

func (w *watch) fired() {
	limit := w.limit.Load()
	left, since := limit, w.since.Load()
	if since > 0 {
		left -= int64(time.Since(w.start)) - since
	}
	switch {
	case w.over.Load():
	case left <= 0:
		w.tell()
	default:
		w.timer.Reset(time.Duration(left))
		if now := w.limit.Load(); now != limit { // restarted meanwhile, before the timer ran again
			w.timer.Reset(time.Duration(now))
		}
		if w.over.Load() { // stopped meanwhile, likewise
			w.timer.Stop()
		}
	}
}
