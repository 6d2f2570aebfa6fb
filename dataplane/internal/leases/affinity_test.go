package leases

import (
	"testing"
	"time"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func kin(affinity uint64) Want { return Want{Provider: "ollama", Model: "m", Affinity: affinity} }

// homes answers which key each of so many affinities goes to when nothing else is under way.
func (d *desk) homes(t testing.TB, n int) []KeyID {
	t.Helper()
	homes := make([]KeyID, n)
	for i := range homes {
		l := d.must(t, kin(uint64(i+1)))
		homes[i] = l.KeyID()
		d.Return(l)
	}
	return homes
}

func share(homes []KeyID) map[KeyID]int {
	count := map[KeyID]int{}
	for _, id := range homes {
		count[id]++
	}
	return count
}

func TestAnAffinityGoesToTheSameKeyOnEveryNode(t *testing.T) {
	const n, affinities = 50, 20_000
	keys := someKeys(n, nil)
	here, there := newDesk(t, keys...), newDesk(t, keys...)
	homes := here.homes(t, affinities)
	for i, id := range there.homes(t, affinities) {
		if homes[i] != id {
			t.Fatalf("affinity %d is at %v here and at %v there", i+1, homes[i], id)
		}
	}
	for id := range KeyID(n) {
		if got := share(homes)[id+1]; got == 0 || got > affinities/n*2 {
			t.Errorf("%v has %d of %d affinities, want some and at most %d", id+1, got, affinities, affinities/n*2)
		}
	}
}

// What moves when a key comes or goes, for good or for a while, is its own share and nothing else.
func TestOnlyTheShareOfAKeyMovesWithIt(t *testing.T) {
	const n, affinities, id = 20, 10_000, 7
	for name, change := range map[string]struct{ away, back func(*desk) }{
		"out": {
			func(d *desk) { d.tell(open(id, leasev1.Reason_REASON_AUTH_REJECTED, 0)) },
			func(d *desk) { d.tell(closed(id, 1)) },
		},
		"cooling": {
			func(d *desk) { d.tell(open(id, leasev1.Reason_REASON_RATE_LIMITED, time.Minute)) },
			func(d *desk) { d.clock += time.Minute },
		},
		"removed": {
			func(d *desk) {
				d.applyDelta(&leasev1.ResourceDelta{Removed: []*leasev1.Removed{{Kind: leasev1.Kind_KIND_KEY, Id: id}}, CompleteRevision: 2})
			},
			func(d *desk) { d.give(key(id)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, someKeys(n, nil)...)
			before := d.homes(t, affinities)
			change.away(d)
			for i, now := range d.homes(t, affinities) {
				if now == id || before[i] != id && now != before[i] {
					t.Fatalf("affinity %d has moved from %v to %v", i+1, before[i], now)
				}
			}
			change.back(d)
			for i, now := range d.homes(t, affinities) {
				if now != before[i] {
					t.Fatalf("affinity %d has not come back from %v to %v", i+1, now, before[i])
				}
			}
		})
	}
}

func TestABusyKeyLeavesItsAffinitiesToTheNext(t *testing.T) {
	d := newDesk(t, someKeys(10, nil)...)
	turns := map[KeyID]int{}
	var out []Loan
	for range 1000 { // one conversation alone must not weigh on one key
		l := d.must(t, kin(42))
		turns[l.KeyID()]++
		out = append(out, l)
		for id, n := range turns {
			// When all of its nearest keys are as busy as they may be, it takes turns like everybody.
			if most := maxOverMean*float64(len(out))/10 + spareLoans + 2; float64(n) > most {
				t.Fatalf("%v has %d of %d loans, at most %.1f are allowed", id, n, len(out), most)
			}
		}
	}
	first := out[0].KeyID()
	d.give(key(11)) // loans that are out stay counted when the rotation is made anew
	if got := (*d.rings.Load())["ollama"].tiers[0].loans.out.Load(); got != 1000 {
		t.Errorf("%d loans are out, want 1000", got)
	}
	for i, l := range out {
		if i%2 == 0 {
			d.Return(l)
		} else {
			d.Settle(l, Attempt{Model: "m", Verdict: okVerdict})
		}
	}
	d.allIn(t)
	l := d.must(t, kin(42))
	if d.Return(l); l.KeyID() != first {
		t.Errorf("with everything in, it goes to %v, want %v again", l.KeyID(), first)
	}
}

func TestAffinityComesAfterPriorityAndWhatWasTried(t *testing.T) {
	d := newDesk(t, someKeys(10, func(k *leasev1.UpstreamKey) {
		if k.Priority = 1; k.GetId() <= 3 {
			k.Priority = 0
		}
	})...)
	for i := range uint64(100) {
		l := d.must(t, kin(i+1))
		next := d.must(t, Want{Provider: "ollama", Model: "m", Affinity: i + 1, Tried: []KeyID{l.KeyID()}})
		if l.KeyID() > 3 || next.KeyID() > 3 || next.KeyID() == l.KeyID() {
			t.Fatalf("affinity %d goes to %v, then to %v", i+1, l.KeyID(), next.KeyID())
		}
		d.Return(l)
		d.Return(next)
	}
}
