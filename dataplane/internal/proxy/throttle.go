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
//
// One client whose requests make the upstream fail must not have those of others held back. So nothing is if the others, without
// the one client that failed most, were answered well.
type throttle struct {
	failed, served, refused window
	clients                 [throttleClients]struct{ failed, served window } // the same by token; several may share a place
	trial                   atomic.Int64                                     // when one was let through last, in Unix nanoseconds
}

const (
	throttleFactor = 2  // requests that go out for each that is answered
	throttleLeast  = 10 // requests below which nothing is held back
	trialEvery     = 500 * time.Millisecond

	throttleClients = 32
)

// admits says whether a request may go out.
func (t *throttle) admits(now time.Time) bool {
	failed := t.failed.sum(now)
	if failed == 0 {
		return true
	}
	served := t.served.sum(now)
	all := failed + served + t.refused.sum(now)
	if all < throttleLeast || all <= throttleFactor*served || t.oneClients(now, failed, served) {
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

// oneClients says whether the failures are those of one client, while others are answered.
func (t *throttle) oneClients(now time.Time, failed, served int) bool {
	worst, theirs := 0, 0
	for i := range t.clients {
		if n := t.clients[i].failed.sum(now); n > worst {
			worst, theirs = n, t.clients[i].served.sum(now)
		}
	}
	return served-theirs > 0 && failed-worst <= served-theirs
}

func (t *throttle) fails(now time.Time, token uint64) {
	t.failed.add(now)
	t.clients[token%throttleClients].failed.add(now)
}

func (t *throttle) serves(now time.Time, token uint64) {
	t.clients[token%throttleClients].served.add(now)
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
		a.x.up.throttle.fails(a.x.p.now(), a.x.tokenID())
		return
	}
	a.x.up.throttle.serves(a.x.p.now(), a.x.tokenID())
}

// tokenID answers whose request it is; 0: not known.
func (x *exchange) tokenID() uint64 {
	if x.token == nil {
		return 0
	}
	return x.token.ID
}
