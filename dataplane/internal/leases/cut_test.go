package leases

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// running is requests under way, by key.
type running struct {
	d    *desk
	cuts map[KeyID]*Cut
	loan map[KeyID]Loan
	end  map[KeyID]error
	good map[KeyID]bool
}

// start has a request of each key begin.
func start(t *testing.T, d *desk, ids ...KeyID) *running {
	t.Helper()
	r := &running{d: d, cuts: map[KeyID]*Cut{}, loan: map[KeyID]Loan{}, end: map[KeyID]error{}, good: map[KeyID]bool{}}
	for _, id := range ids {
		k := d.keys[id]
		r.loan[id], r.cuts[id] = Loan{key: k, of: k.lease.Load()}, &Cut{}
		r.good[id] = r.loan[id].Watch(r.cuts[id], func(cause error) { r.end[id] = cause })
	}
	return r
}

func (r *running) want(t *testing.T, why string, ended ...KeyID) {
	t.Helper()
	for _, id := range ended {
		if !errors.Is(r.end[id], ErrCut) {
			t.Errorf("%s: the request with key %d goes on", why, id)
		}
	}
	if len(r.end) != len(ended) {
		t.Errorf("%s: ended are %v, want %v", why, r.end, ended)
	}
	clear(r.end)
}

func off(id, revision uint64, cut bool) *leasev1.KeyHealth {
	h := open(id, leasev1.Reason_REASON_ADMIN, 0)
	h.Revision, h.CancelInFlight = revision, cut
	return h
}

func TestRequestsUnderWayAreCutOff(t *testing.T) {
	d := newDesk(t, key(1), key(2), key(65), key(66)) // 1 and 65 are in one shard, 2 and 66 alike
	r := start(t, d, 1, 2, 65, 66)
	d.tell(off(1, 1, false))
	r.want(t, "a plain disable")
	d.tell(off(1, 1, true))
	r.want(t, "a disable of a key that leaked", 1)
	if r.loan[1].Usable() {
		t.Error("the key can be used")
	}
	r.loan[65].Unwatch(r.cuts[65])
	d.tell(off(65, 1, true))
	r.want(t, "a request that is over")
	d.applyDelta(&leasev1.ResourceDelta{Removed: []*leasev1.Removed{{Kind: leasev1.Kind_KIND_KEY, Id: 66}}})
	r.want(t, "a plain removal")
	d.applyDelta(&leasev1.ResourceDelta{Removed: []*leasev1.Removed{{Kind: leasev1.Kind_KIND_KEY, Id: 66, CancelInFlight: true}}})
	r.want(t, "a removal of a key that leaked, when it is gone already", 66)
	for _, id := range []KeyID{1, 2, 66} {
		r.loan[id].Unwatch(r.cuts[id])
	}
	for i := range d.cuts {
		if d.cuts[i].first != nil {
			t.Errorf("shard %d is not empty in the end", i)
		}
	}
}

func TestWhatBeganWithALaterCopyIsNotCutOff(t *testing.T) {
	later := key(1)
	later.Revision, later.Generation = 5, 2
	d := newDesk(t, later)
	r := start(t, d, 1)
	d.tell(off(1, 4, true)) // late: the key has been enabled again since
	r.want(t, "an earlier disable")
	if !r.loan[1].Usable() {
		t.Error("nor is the key out")
	}
}

func TestAKeyThatWasTakenOutSinceItWasLentIsNotUsed(t *testing.T) {
	for why, take := range map[string]func(*desk){
		"disabled": func(d *desk) { d.tell(off(1, 1, true)) },
		"disabled, by delta": func(d *desk) {
			k := key(1)
			k.Revision, k.State = 2, leasev1.AdminState_ADMIN_STATE_DISABLED
			d.give(k)
		},
		"removed": func(d *desk) { d.sync() },
	} {
		d := newDesk(t, key(1))
		l, err := d.Borrow(Want{Provider: "ollama", Model: "m"})
		if err != nil {
			t.Fatal(err)
		}
		take(d)
		if l.Watch(&Cut{}, func(error) {}) {
			t.Errorf("%s: the key would be used, and nobody would cut the request off", why)
		}
	}
	d := newDesk(t, key(1))
	if !start(t, d, 1).good[1] {
		t.Error("a good key is not used: this proves nothing")
	}
}

// Requests come and go while their key is cut off: none that began before it goes on.
func TestNoRequestSlipsThroughACut(t *testing.T) {
	for range 200 {
		d := newDesk(t, key(1))
		var wg sync.WaitGroup
		left := make(chan string, 8)
		for n := range 8 {
			wg.Go(func() {
				l, err := d.Borrow(Want{Provider: "ollama", Model: "m"})
				if err != nil {
					return
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				var cut Cut
				defer cancel(nil)
				defer l.Unwatch(&cut)
				if !l.Watch(&cut, cancel) {
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(10 * time.Second):
					left <- fmt.Sprint("request ", n, " goes on")
				}
			})
		}
		d.tell(off(1, 1, true))
		wg.Wait()
		close(left)
		for what := range left {
			t.Fatal(what)
		}
	}
}

func brittleKey(id uint64, maxStale time.Duration) *leasev1.UpstreamKey {
	k := key(id)
	k.MaxStale = durationpb.New(maxStale)
	return k
}

func TestAKeyIsNotUsedWithoutAFreshWord(t *testing.T) {
	d := newDesk(t, brittleKey(1, 100*time.Second))
	d.lease.grace.Store(int64(d.clock + 10*time.Hour))
	other := key(2)
	other.Priority = 1
	d.give(other)
	sent := d.clock // of the Hello
	d.renewed = sent
	d.vouchLocked()
	early, err := d.Borrow(Want{Provider: "ollama", Model: "m"})
	if err != nil || early.KeyID() != 1 {
		t.Fatal(early.KeyID(), err)
	}
	for _, row := range []struct {
		after time.Duration
		want  KeyID
	}{{98 * time.Second, 1}, {99 * time.Second, 2}, {time.Hour, 2}} {
		d.clock = sent + row.after
		if got := d.borrow(t); got != row.want || early.Usable() != (row.want == 1) {
			t.Errorf("%v after the last word key %d serves, want %d; one lent before is usable: %v", row.after, got, row.want, early.Usable())
		}
	}
	d.renew(d.clock-50*time.Second, time.Minute, time.Hour) // an answer to what was sent then
	if !d.only(t, 1) || !early.Usable() {
		t.Error("it does not come back with the next word")
	}
	d.clock += 49 * time.Second
	if d.borrow(t) != 2 {
		t.Error("a word counts from when it was asked for")
	}
}

// An answer in the midst of a sync says nothing about what the sync has not named: a key that was disabled while the node was
// away would be used until then.
func TestAWordCountsOnlyOnceTheSyncIsComplete(t *testing.T) {
	d := newDesk(t, brittleKey(1, 10*time.Second))
	d.renew(d.clock, time.Minute, time.Hour)
	if d.borrow(t) != 1 {
		t.Fatal("not used at all")
	}
	d.clock += time.Minute
	d.beginSync()
	d.renew(d.clock, time.Minute, time.Hour) // Welcome
	if got := d.borrow(t); got != 0 {
		t.Errorf("key %d is used before the sync has told of it", got)
	}
	gone := brittleKey(1, 10*time.Second)
	gone.State, gone.Revision = leasev1.AdminState_ADMIN_STATE_DISABLED, 2
	d.give(gone, brittleKey(2, 10*time.Second))
	if !d.only(t, 2) {
		t.Error("the other does not serve once the sync is complete")
	}
}

func TestKeysThatWentStaleAreTakenOutOfTheViewsAtOnce(t *testing.T) {
	var keys []*leasev1.UpstreamKey
	for id := range uint64(1000) {
		keys = append(keys, brittleKey(id+1, time.Duration(10+id%2)*time.Second))
	}
	d := newDesk(t, keys...)
	d.renew(d.clock, time.Minute, time.Hour)
	count := func() int32 { return (*d.rings.Load())["ollama"].tiers[0].views.whole.count.Load() }
	d.outdate()
	if count() != 1000 {
		t.Fatalf("%d keys are free at first", count())
	}
	d.clock += 10 * time.Second
	d.outdate()
	if count() != 500 {
		t.Errorf("%d keys are free when half of them are stale", count())
	}
	d.clock += 10 * time.Second
	d.outdate()
	d.outdate()
	if count() != 0 || d.borrow(t) != 0 {
		t.Errorf("%d keys are free when all are stale", count())
	}
	d.renew(d.clock, time.Minute, time.Hour)
	if count() != 1000 {
		t.Errorf("%d keys are free after the next word", count())
	}
}
