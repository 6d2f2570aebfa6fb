package leases

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// bubble runs a story in a bubble, where a desk's clock goes by itself.
func bubble(t *testing.T, story func(t *testing.T, d *desk), keys ...*leasev1.UpstreamKey) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, keys...)
		begin := time.Now()
		d.now = func() time.Duration { return time.Hour + time.Since(begin) }
		story(t, d)
		d.allIn(t)
		d.queues.Range(func(_, q any) bool {
			if q := q.(*queue); q.waiting.Len() != 0 || q.count.Load() != 0 {
				t.Errorf("%d still wait", q.waiting.Len())
			}
			return true
		})
	})
}

// waited is what came of waiting.
type waited struct {
	Loan
	err   error
	after time.Duration
}

func (d *desk) wait(ctx context.Context, w Want, patience time.Duration) waited {
	begin := time.Now()
	l, err := d.Wait(ctx, w, patience)
	if err == nil {
		d.Return(l)
	}
	return waited{l, err, time.Since(begin)}
}

func limited(id uint64, wait time.Duration) *leasev1.KeyHealth {
	return open(id, leasev1.Reason_REASON_RATE_LIMITED, wait)
}

func TestARequestWaitsForAKeyThatWillBeFreeInTime(t *testing.T) {
	const patience = 2 * time.Second
	gone := errors.New("gone")
	for _, row := range []struct {
		name  string
		told  []*leasev1.KeyHealth // to begin with
		tried []KeyID
		then  func(t *testing.T, d *desk, cancel context.CancelCauseFunc) // after half a second
		after time.Duration
		want  error // nil: key 1
	}{
		{name: "one is free", told: []*leasev1.KeyHealth{limited(2, time.Hour)}, after: 0},
		{name: "its limit passes", told: []*leasev1.KeyHealth{limited(1, time.Second), limited(2, time.Hour)}, after: time.Second},
		{
			name: "its limit passes at the last moment",
			told: []*leasev1.KeyHealth{limited(1, patience), limited(2, time.Hour)}, after: patience,
		},
		{
			name: "no limit passes in time",
			told: []*leasev1.KeyHealth{limited(1, patience+1), limited(2, time.Hour)}, after: 0, want: &NoKeyError{CauseCooling, patience + 1},
		},
		{
			name: "nothing ends by itself",
			told: []*leasev1.KeyHealth{open(1, 1, 0), open(2, 1, 0)}, after: 0, want: &NoKeyError{Cause: CauseOut},
		},
		{
			name: "only the one that was tried will be back",
			told: []*leasev1.KeyHealth{limited(1, time.Hour), limited(2, time.Second)}, tried: []KeyID{2}, after: 0,
			want: &NoKeyError{CauseCooling, time.Second},
		},
		{
			name: "it is put back before", told: []*leasev1.KeyHealth{limited(1, time.Second), limited(2, time.Hour)},
			then:  func(_ *testing.T, d *desk, _ context.CancelCauseFunc) { d.tell(closed(1, 1)) },
			after: 500 * time.Millisecond,
		},
		{
			name: "another one is given a new secret", told: []*leasev1.KeyHealth{open(1, 1, 0), limited(2, time.Second)},
			then: func(_ *testing.T, d *desk, _ context.CancelCauseFunc) {
				fresh := key(1)
				fresh.Revision, fresh.Generation = 2, 2
				d.give(fresh)
			},
			after: 500 * time.Millisecond,
		},
		{
			name: "the client goes away", told: []*leasev1.KeyHealth{limited(1, time.Second), limited(2, time.Hour)},
			then:  func(_ *testing.T, _ *desk, cancel context.CancelCauseFunc) { cancel(gone) },
			after: 500 * time.Millisecond, want: context.Canceled,
		},
		{
			name: "the limit is made longer", told: []*leasev1.KeyHealth{limited(1, time.Second), limited(2, time.Hour)},
			then:  func(_ *testing.T, d *desk, _ context.CancelCauseFunc) { d.tell(limited(1, 9*time.Second)) },
			after: time.Second, want: &NoKeyError{CauseCooling, 8500 * time.Millisecond},
		},
		{
			name: "the node is fenced", told: []*leasev1.KeyHealth{limited(1, time.Second), limited(2, time.Hour)},
			then:  func(_ *testing.T, d *desk, _ context.CancelCauseFunc) { d.wipe() },
			after: 500 * time.Millisecond, want: ErrLeaseOver,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, d *desk) {
				d.tell(row.told...)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var story sync.WaitGroup
				if row.then != nil {
					story.Go(func() {
						time.Sleep(500 * time.Millisecond)
						row.then(t, d, cancel)
					})
				}
				got := d.wait(ctx, Want{Provider: "ollama", Model: "m", Tried: row.tried}, patience)
				story.Wait()
				if got.after != row.after {
					t.Errorf("answered after %v, want %v", got.after, row.after)
				}
				var noKey *NoKeyError
				switch want, ok := errors.AsType[*NoKeyError](row.want); {
				case row.want == nil && (got.err != nil || got.KeyID() != 1):
					t.Errorf("got %+v, want key 1", got)
				case ok && (!errors.As(got.err, &noKey) || *noKey != *want):
					t.Errorf("got %v, want %+v", got.err, want)
				case !ok && !errors.Is(got.err, row.want):
					t.Errorf("got %v, want %v", got.err, row.want)
				}
				if row.name == "the node is fenced" {
					d.sync(key(1)) // allIn looks at the ring
				}
			}, key(1), key(2))
		})
	}
}

// A key comes back when a request has looked for the last time and is about to set the alarm.
func TestAWakeIsNotLostToTheAlarm(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.tell(limited(1, time.Minute))
		clock, looks := d.now, 0
		d.now = func() time.Duration {
			if q, ok := d.queues.Load("ollama"); ok && q.(*queue).count.Load() == 1 {
				if looks++; looks == 2 { // the first is the last look for a key
					d.now = clock
					d.tell(closed(1, 1))
				}
			}
			return clock()
		}
		if got := d.wait(t.Context(), plain(0), 2*time.Minute); got.err != nil || got.after != 0 || looks != 2 {
			t.Errorf("got %+v after %d looks", got, looks)
		}
	}, key(1))
}

func TestAKeyThatArrivesIsForThoseWhoWait(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.tell(limited(1, 2*time.Second))
		var story sync.WaitGroup
		story.Go(func() {
			time.Sleep(time.Second)
			d.give(key(2))
		})
		got := d.wait(t.Context(), plain(0), time.Minute)
		story.Wait()
		if got.err != nil || got.KeyID() != 2 || got.after != time.Second {
			t.Errorf("got %+v", got)
		}
	}, key(1))
}

// Three wait, and three keys come back at once: they are lent in the order of coming, each the next in the rotation.
func TestWhoCameFirstIsServedFirst(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.tell(limited(1, time.Second), limited(2, time.Second), limited(3, time.Second))
		var all sync.WaitGroup
		var got [3]waited
		for i := range got {
			all.Go(func() { got[i] = d.wait(t.Context(), plain(0), 2*time.Second) })
			synctest.Wait()
		}
		all.Wait()
		for i, w := range got {
			if w.err != nil || w.after != time.Second {
				t.Fatalf("request %d: %+v", i, w)
			}
			if before := got[(i+2)%3].KeyID(); w.KeyID() != before%3+1 {
				t.Errorf("request %d was lent %v after %v", i, w.KeyID(), before)
			}
		}
	}, key(1), key(2), key(3))
}

func TestNobodyWaitsBehindOneWhoWantsSomethingElse(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		for model, wait := range map[string]time.Duration{"big": 4 * time.Second, "small": time.Second} {
			d.fails(t, 1, model, provider.Verdict{Class: provider.RateLimited, ModelOnly: true, RetryAfter: wait})
		}
		var all sync.WaitGroup
		var big, small waited
		all.Go(func() { big = d.wait(t.Context(), Want{Provider: "ollama", Model: "big"}, time.Minute) })
		synctest.Wait()
		all.Go(func() { small = d.wait(t.Context(), Want{Provider: "ollama", Model: "small"}, time.Minute) })
		all.Wait()
		if big.err != nil || small.err != nil || big.after != 4*time.Second || small.after != time.Second {
			t.Errorf("big: %+v, small: %+v", big, small)
		}
	}, key(1))
}

func TestOnlySoManyWait(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		d.tell(limited(1, time.Second))
		var all sync.WaitGroup
		var mu sync.Mutex
		after := map[time.Duration]int{}
		for range maxWaiters + 5 {
			all.Go(func() {
				got := d.wait(t.Context(), plain(0), 2*time.Second)
				mu.Lock()
				defer mu.Unlock()
				if after[got.after]++; (got.err == nil) != (got.after == time.Second) {
					t.Errorf("got %+v", got)
				}
			})
		}
		all.Wait()
		if after[0] != 5 || after[time.Second] != maxWaiters {
			t.Errorf("answered after %v", after)
		}
	}, key(1))
}

func TestAFreeKeyCostsAWaiterNoMore(t *testing.T) {
	d := newDesk(t, key(1))
	got := testing.AllocsPerRun(100, func() {
		l, err := d.Wait(t.Context(), plain(0), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		d.Return(l)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// The client goes away in the very moment in which it is served: the loan goes back, or is had, but is never lost.
func TestALoanIsNotLostWhenItsRequestLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, d *desk) {
		for range 200 {
			d.tell(closed(1, 1))
			d.tell(limited(1, time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if got := d.wait(ctx, plain(0), time.Minute); got.err != nil && !errors.Is(got.err, context.DeadlineExceeded) {
						t.Errorf("got %v", got.err)
					}
				})
			}
			all.Wait()
			cancel()
		}
	}, key(1))
}
