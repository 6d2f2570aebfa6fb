package leases

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
)

func (d *desk) fails(t testing.TB, id KeyID, model string, v provider.Verdict) {
	t.Helper()
	k := d.keys[id]
	d.Settle(Loan{key: k, of: k.lease.Load()}, Attempt{Model: model, Verdict: v})
}

// refusal is why no key can be had for the model.
func (d *desk) refusal(t testing.TB, model string) NoKeyError {
	t.Helper()
	_, err := d.Borrow(Want{Provider: "ollama", Model: model})
	noKey, ok := errors.AsType[*NoKeyError](err)
	if !ok {
		t.Fatalf("for %q: %v", model, err)
	}
	return *noKey
}

func (d *desk) serves(t testing.TB, model string) bool {
	t.Helper()
	l, err := d.Borrow(Want{Provider: "ollama", Model: model})
	if err == nil {
		d.Return(l)
	}
	return err == nil
}

func TestAVerdictOnAModelBarsTheKeyForThatModelOnly(t *testing.T) {
	forbidden := provider.Verdict{Class: provider.Forbidden, ModelOnly: true, Status: 403}
	limited := provider.Verdict{Class: provider.RateLimited, ModelOnly: true, Status: 429}
	hinted := func(v provider.Verdict, wait time.Duration) provider.Verdict { v.RetryAfter = wait; return v }
	for _, row := range []struct {
		name     string
		verdict  provider.Verdict
		cause    string
		min, max time.Duration
	}{
		{"forbidden", forbidden, CauseForbidden, 10 * time.Minute, 10 * time.Minute},
		{"forbidden for a while", hinted(forbidden, time.Minute), CauseForbidden, time.Minute, time.Minute},
		{"limited", limited, CauseCooling, 4500 * time.Millisecond, 5500 * time.Millisecond},
		{"limited for a while", hinted(limited, 90*time.Second), CauseCooling, 90 * time.Second, 90 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(t, key(1))
			d.fails(t, 1, "big", row.verdict)
			got := d.refusal(t, "big")
			if got.Cause != row.cause || got.RetryAfter < row.min || got.RetryAfter > row.max {
				t.Errorf("refused as %+v, want %s for %v to %v", got, row.cause, row.min, row.max)
			}
			if !d.serves(t, "small") || !d.serves(t, "") {
				t.Error("the key does not serve other models")
			}
			d.clock += got.RetryAfter - 1
			if d.serves(t, "big") {
				t.Error("it serves the model too early")
			}
			d.clock++
			if !d.serves(t, "big") {
				t.Error("it does not serve the model at the end")
			}
			if order, _ := d.signals.take(); len(order) != 0 {
				t.Errorf("the control plane is told %v", order)
			}
		})
	}
}

func TestWhatAMarkDoesNotOutlast(t *testing.T) {
	v := provider.Verdict{Class: provider.Forbidden, ModelOnly: true}
	d := newDesk(t, key(1))
	late := d.must(t, plain(0))
	d.fails(t, 1, "m", v)
	label := key(1)
	label.Revision = 2
	d.give(label)
	if d.serves(t, "m") {
		t.Error("an edit of the label lifted a mark")
	}
	fresh := key(1)
	fresh.Revision, fresh.Generation = 3, 2
	d.give(fresh)
	if !d.serves(t, "m") {
		t.Error("a new secret is barred for what the old one was")
	}
	d.Settle(late, Attempt{Model: "m", Verdict: v})
	if !d.serves(t, "m") {
		t.Error("a late verdict on the old secret bars the new one")
	}
	limit := provider.Verdict{Class: provider.RateLimited, ModelOnly: true}
	d.fails(t, 1, "m", limit)
	d.clock += 6 * time.Second
	d.Settle(late, Attempt{Model: "m", Verdict: okVerdict})
	if d.fails(t, 1, "m", limit); d.refusal(t, "m").RetryAfter < 9*time.Second {
		t.Error("a late success of the old secret ended the new one's row of limits")
	}
	d.clock += time.Minute
	if d.fails(t, 1, "", v); !d.serves(t, "m") || !d.serves(t, "") {
		t.Error("a verdict on no model bars the key")
	}
}

func TestMarksAreBoundedAndTheFirstToEndGoes(t *testing.T) {
	d := newDesk(t, key(1))
	for i := range maxMarks + 1 {
		d.fails(t, 1, fmt.Sprint("model-", i), provider.Verdict{
			Class: provider.Forbidden, ModelOnly: true, RetryAfter: time.Duration(100-i) * time.Minute,
		})
	}
	if n := len(d.keys[1].marked()); n != maxMarks {
		t.Errorf("%d marks, want %d", n, maxMarks)
	}
	if d.serves(t, "model-0") || !d.serves(t, fmt.Sprint("model-", maxMarks)) {
		t.Error("another mark went than the one that would have ended first")
	}
}

// Each limit without a hint in a row is waited for twice as long as the one before, up to a bound; of the key and of a model alike.
func TestLimitsInARowAreWaitedForLonger(t *testing.T) {
	for name, modelOnly := range map[string]bool{"of the key": false, "of a model": true} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, key(1))
			d.lease.renew(d.clock, 1000*time.Hour, 0)
			v := provider.Verdict{Class: provider.RateLimited, ModelOnly: modelOnly}
			for i := range 10 {
				d.fails(t, 1, "m", v)
				d.fails(t, 1, "m", v) // of the same storm
				want := min(5*time.Second<<i, 5*time.Minute)
				got := d.refusal(t, "m").RetryAfter
				if got < want*9/10 || got > min(want*11/10, 5*time.Minute) {
					t.Errorf("after %d in a row it waits for %v, want %v give or take a tenth", i+1, got, want)
				}
				d.clock += got
			}
			d.fails(t, 1, "m", provider.Verdict{Class: provider.OK})
			if d.fails(t, 1, "m", v); d.refusal(t, "m").RetryAfter > 5500*time.Millisecond {
				t.Error("a success did not end the row")
			}
			d.fails(t, 1, "m", provider.Verdict{Class: provider.OK}) // of a request that was under way
			if d.serves(t, "m") {
				t.Error("a success shortened a wait")
			}
		})
	}
}

func TestTheControlPlanesWaitReplacesThisNodes(t *testing.T) {
	d := newDesk(t, key(1))
	d.fails(t, 1, "m", provider.Verdict{Class: provider.RateLimited})
	d.tell(open(1, 3, time.Minute))
	if got := d.refusal(t, "m").RetryAfter; got != time.Minute {
		t.Errorf("it waits for %v, want what it was told", got)
	}
}

// Keys that are out, barred and not meant for the model at once: the most hopeful reason is told, and the first recovery of a
// key that may serve the model.
func TestTheReasonIsTheMostHopefulAndTheTimeTheFirst(t *testing.T) {
	other := key(4)
	other.Models = []string{"llama*"}
	d := newDesk(t, key(1), key(2), key(3), other)
	d.tell(open(4, 3, time.Second)) // may not serve it anyway
	d.tell(open(1, 1, 0))
	d.fails(t, 2, "m", provider.Verdict{Class: provider.Forbidden, ModelOnly: true})
	d.fails(t, 3, "m", provider.Verdict{Class: provider.Forbidden, ModelOnly: true, RetryAfter: time.Minute})
	if got, want := d.refusal(t, "m"), (NoKeyError{CauseOut, time.Minute}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	d.tell(open(3, 3, 30*time.Second)) // for less long than it is barred
	if got, want := d.refusal(t, "m"), (NoKeyError{CauseCooling, time.Minute}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	d.tell(open(1, 3, 30*time.Second))
	if got, want := d.refusal(t, "m"), (NoKeyError{CauseCooling, 30 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
