package pool_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func (f *fleet) story(id pool.KeyID) (told []string) {
	for _, e := range f.pool.TakeEvents() {
		if e.Key == id {
			told = append(told, fmt.Sprint(e.Node, " ", e.Status, " ", e.Reason, " ", e.HTTPStatus, " ", e.Count, " ", e.Probe))
		}
	}
	return told
}

func TestAKeysLifeIsTold(t *testing.T) {
	f := newFleet(t, 4, "a", "b")
	f.signal("a", pool.Signal{Key: 1, Reason: pool.RateLimited, RetryAfter: time.Hour, HTTPStatus: 429})
	f.pass(time.Hour)
	f.back(1)
	got := f.story(1)
	f.signal("b", pool.Signal{Key: 1, Reason: pool.AuthRejected, HTTPStatus: 401})
	f.signal(f.asked(1), pool.Signal{Key: 1, Reason: pool.AuthRejected, Probe: true})
	k, _ := f.pool.KeyView(1)
	off := k.Key.Disable(f.now.Add(time.Hour), "leaked")
	f.apply(pool.Change{Key: &off})
	f.pass(61 * time.Minute)
	on := off.Enable()
	f.apply(pool.Change{Key: &on})
	want := []string{
		"a  rate_limited 429 1 false", " cooling rate_limited 0 0 false",
		"b  recovered 0 1 true", " active  0 0 false",
		"b  auth_rejected 401 1 false", " suspect auth_rejected 0 0 false",
		"a  auth_rejected 0 1 true", " auto_disabled auth_rejected 0 0 false",
		" disabled admin 0 0 false",
		" auto_disabled auth_rejected 0 0 false",
		" active  0 0 false",
	}
	if got = append(got, f.story(1)...); !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if got := f.story(1); got != nil {
		t.Errorf("told twice: %q", got)
	}
}

// A storm of failures costs a bounded amount of memory, and every key that fails is told of.
func TestAStormIsToldByItsFirstEvents(t *testing.T) {
	f := newFleet(t, 300, "a")
	for range 100 {
		for id := range 300 {
			f.pool.Signal(f.now, "a", pool.Signal{Key: pool.KeyID(id + 1), Generation: 1, Reason: pool.RateLimited, RetryAfter: time.Hour})
		}
	}
	of := map[pool.KeyID]int{}
	events := f.pool.TakeEvents()
	for _, e := range events {
		of[e.Key]++
	}
	if len(events) > 2000 || len(of) != 300 || of[1] > 10 {
		t.Errorf("%d events of %d keys, %d of the first", len(events), len(of), of[1])
	}
}
