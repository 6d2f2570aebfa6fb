package proxy

import (
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// throttle keeps requests from an upstream that fails altogether: they would only make its recovery harder, and their clients wait
// for nothing. It follows the Site Reliability Engineering book, chapter 21: of the requests of the last ten seconds as many go
// out as were answered, twice over; so at half failing nothing is held back yet. What is no fault of the provider (a key's
// rejection, a limit, a client's mistake) is an answer.
//
// An attempt is counted when it is known how it went, not when it is sent: answers of models take minutes to begin, and a slow
// provider must not pass for a dead one. While requests are held back one goes out every half second at least; its success
// forgets the failures, so that full service is back at once.
type throttle struct {
	failed, served, refused window
	trial                   atomic.Int64 // when one was let through last, in Unix nanoseconds
}

const (
	throttleFactor = 2  // requests that go out for each that is answered
	throttleLeast  = 10 // requests below which nothing is held back
	trialEvery     = 500 * time.Millisecond
)

// admits says whether a request may go out.
func (t *throttle) admits(now time.Time) bool {
	failed := t.failed.sum(now)
	if failed == 0 {
		return true
	}
	served := t.served.sum(now)
	all := failed + served + t.refused.sum(now)
	if all < throttleLeast || all <= throttleFactor*served {
		return true
	}
	if rand.Float64()*float64(all+1) >= float64(all-throttleFactor*served) { //nolint:gosec // spreads load
		return true
	}
	if last := t.trial.Load(); now.UnixNano()-last >= int64(trialEvery) && t.trial.CompareAndSwap(last, now.UnixNano()) {
		return true
	}
	t.refused.add(now)
	return false
}

func (t *throttle) fails(now time.Time) { t.failed.add(now) }

func (t *throttle) serves(now time.Time) {
	if t.refused.sum(now) > 0 {
		t.failed.reset()
		t.refused.reset()
	}
	t.served.add(now)
}

// problemThrottled is what is answered meanwhile.
var problemThrottled = unavailable("upstream_unavailable", "The provider does not answer at the moment.", time.Second, false)

// heard notes that the provider answered something, whatever it was, or that it failed.
func (a *attempt) heard(status int) {
	if status >= http.StatusInternalServerError {
		a.x.up.throttle.fails(a.x.p.now())
		return
	}
	a.x.up.throttle.serves(a.x.p.now())
}
