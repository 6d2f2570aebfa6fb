package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestAnOutageOfTheProviderPutsNoKeyOut(t *testing.T) {
	f := newFleet(t, 10, "a", "b")
	f.serve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	for range 5 { // five seconds of failures, told at once and reported a second later
		var seen []pool.Observation
		for id := range pool.KeyID(10) {
			f.signal("a", pool.Signal{Key: id + 1, Reason: pool.ServerError, Count: 20})
			seen = append(seen, pool.Observation{Key: id + 1, Bad: 20})
		}
		if out := f.out(); out > 5 {
			t.Fatalf("%d of 10 keys are out: more than half", out)
		}
		f.pass(time.Second)
		f.pool.Observe(f.now, seen)
		f.save()
	}
	if !f.pool.Blamed("ollama") {
		t.Error("the provider is not blamed")
	}
	if out := f.out(); out != 0 {
		t.Errorf("%d keys are still out", out)
	}
	f.pass(11 * time.Second)
	f.serve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	if f.pool.Blamed("ollama") {
		t.Error("the provider is still blamed after it recovered")
	}
	for id := range pool.KeyID(10) {
		f.wantStatus(id+1, pool.StatusActive, "")
	}
}

func (f *fleet) out() int {
	n := 0
	f.pool.EachKey(0, func(v pool.KeyView) bool {
		if !v.Health.Usable() {
			n++
		}
		return true
	})
	return n
}

func TestTwoBadKeysAmongTwentyAreBenchedAndTheProviderIsNotBlamed(t *testing.T) {
	f := newFleet(t, 20, "a", "b")
	for range 3 {
		var seen []pool.Observation
		for id := range pool.KeyID(18) {
			seen = append(seen, pool.Observation{Key: id + 1, Good: 5})
		}
		for _, bad := range []pool.KeyID{19, 20} {
			f.signal("a", pool.Signal{Key: bad, Reason: pool.ServerError})
			seen = append(seen, pool.Observation{Key: bad, Bad: 1})
		}
		f.pass(time.Second)
		f.pool.Observe(f.now, seen)
	}
	f.wantStatus(19, pool.StatusAutoDisabled, "server_error")
	f.wantStatus(20, pool.StatusAutoDisabled, "server_error")
	if f.pool.Blamed("ollama") {
		t.Error("the provider is blamed for two keys")
	}
}

func TestWithoutProofThatOthersServeNoKeyIsPutOut(t *testing.T) {
	f := newFleet(t, 4, "a")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.ServerError, Count: 9})
	f.wantStatus(1, pool.StatusActive, "")
	f.serve(2) // the proof comes a second later, with the reports
	f.wantStatus(1, pool.StatusAutoDisabled, "server_error")
}

func TestTheOnlyKeyIsNeverPutOutForSoftReasons(t *testing.T) {
	f := newFleet(t, 1, "a")
	f.serve(1)
	f.signal("a", pool.Signal{Key: 1, Reason: pool.Timeout, Count: 50})
	f.pass(time.Minute)
	f.wantStatus(1, pool.StatusActive, "")
}
