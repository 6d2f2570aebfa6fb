package proxy

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnOutageIsNotAddedTo has an upstream fail for two minutes under load: hardly anything is sent there meanwhile, and as soon as
// it is back, everything is.
func TestAnOutageIsNotAddedTo(t *testing.T) {
	var down atomic.Bool
	var calls atomic.Int32
	inBubble(t, 4, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		if down.Load() {
			sendJSON(w, 503, `{}`)
			return
		}
		sendJSON(w, 200, goodWhole)
	}, func(t *testing.T, b *bench) {
		ask := func(span time.Duration) (served, refused int) {
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				switch a := b.chat(askWhole); {
				case a.status == 200:
					served++
				case a.code() == "upstream_unavailable" && a.header.Get("Retry-After") == "1":
					refused++
				}
			}
			return served, refused
		}
		if _, refused := ask(10 * time.Second); refused != 0 {
			t.Errorf("%d requests were held back from an upstream that answers", refused)
		}
		down.Store(true)
		ask(20 * time.Second)
		calls.Store(0)
		if served, refused := ask(100 * time.Second); served != 0 || refused < 4000 || calls.Load() < 100 || calls.Load() > 700 {
			t.Errorf("down: %d served, %d held back, %d calls", served, refused, calls.Load())
		}
		down.Store(false)
		ask(time.Second)
		if served, refused := ask(10 * time.Second); refused != 0 || served != 500 {
			t.Errorf("a second after it is back: %d served of 500, %d held back", served, refused)
		}
		down.Store(true) // half of them
		for range 500 {
			down.Store(!down.Load())
			b.chat(askWhole)
			time.Sleep(20 * time.Millisecond)
		}
	})
}

func TestWhatIsNoFaultOfTheProviderHoldsNothingBack(t *testing.T) {
	for _, status := range []int{400, 401, 402, 403, 404, 429} {
		synctest.Test(t, func(t *testing.T) {
			th := &throttle{}
			a := &attempt{x: &exchange{p: &Proxy{now: time.Now}, up: &upstream{throttle: th}}}
			for range 1000 {
				a.heard(status)
			}
			for range 100 {
				if !th.admits(time.Now()) {
					t.Fatalf("%d: held back", status)
				}
			}
			th = &throttle{}
			for range 9 { // too few to judge by
				th.fails(time.Now(), 1)
			}
			if !th.admits(time.Now()) {
				t.Error("a request is held back after nine failures")
			}
		})
	}
}

// One client's requests make the upstream fail. The others, who are answered, are not held back, whoever asks most.
func TestOneClientsFailuresHoldNobodyBack(t *testing.T) {
	for _, row := range []struct {
		name   string
		others int  // requests of another client, to ten of the one that fails
		well   bool // they are answered
		held   bool // requests are held back
	}{
		{"others are answered", 1, true, false},
		{"others are answered as often", 10, true, false},
		{"others fail too", 1, false, true},
		{"there is no other", 0, false, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				th, held := &throttle{}, 0
				for range 200 {
					for range 10 {
						th.fails(time.Now(), 1)
					}
					for range row.others {
						if row.well {
							th.serves(time.Now(), 2)
						} else {
							th.fails(time.Now(), 2)
						}
					}
					time.Sleep(50 * time.Millisecond)
					if !th.admits(time.Now()) {
						held++
					}
				}
				if (held > 0) != row.held {
					t.Errorf("%d of 200 held back", held)
				}
			})
		})
	}
}
