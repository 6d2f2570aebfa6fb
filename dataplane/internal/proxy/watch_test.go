package proxy

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, told := time.Now(), make(chan time.Duration, 9)
		at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
		until := func(s float64) { time.Sleep(at(s) - time.Since(begin)) }
		w := newWatch(10*time.Second, func() { told <- time.Since(begin) })
		until(4)
		w.pause() // for longer than the limit
		until(25)
		w.wait() // would be over at 35
		until(28)
		w.pause()
		w.wait() // and now at 38
		until(29)
		w.restart(3 * time.Second)
		until(31)
		w.pause()
		w.wait()
		if got, want := <-told, at(34); got != want {
			t.Errorf("told after %s, want %s", got, want)
		}
		w.restart(time.Second)
		w.stop()
		until(60)
		if len(told) > 0 {
			t.Errorf("told after it was stopped: %s", <-told)
		}
	})
}
