package leases

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func TestABitmapFindsTheNextMember(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 4096, 4097, 300_000} {
		b, want := newBitmap(n), make([]bool, n)
		for range 2000 {
			i, in := rand.IntN(n), rand.IntN(3) == 0
			if b.put(i, in) == (want[i] == in) {
				t.Fatalf("of %d: putting %d told wrongly whether that was a change", n, i)
			}
			want[i] = in
			from := rand.IntN(n)
			next := slices.Index(want[from:], true)
			if next >= 0 {
				next += from
			}
			if got := b.next(from); got != next || b.has(i) != in {
				t.Fatalf("of %d: from %d on the next is %d, want %d", n, from, got, next)
			}
		}
		if b.next(n) != -1 || b.next(n+5000) != -1 {
			t.Fatalf("of %d: something is behind the end", n)
		}
	}
}

// A choice looks at one key and leaves nothing for the collector, whatever is the matter with the others.
func TestAChoiceLooksAtOneKey(t *testing.T) {
	for _, s := range settings(1, 100, 20_000) {
		t.Run(fmt.Sprintf("%s/%d", s.name, s.n), func(t *testing.T) {
			d := s.make(t, s.n)
			for i := range 100 { // what is made once is made
				d.Return(d.must(t, s.want(i)))
			}
			i := 0
			if got := testing.AllocsPerRun(1000, func() { d.Return(d.must(t, s.want(0))) }); got != 0 {
				t.Errorf("%v allocations", got)
			}
			for range 1000 {
				i++
				l, looked := d.look(t, s.want(i))
				if d.Return(l); looked != 1 {
					t.Fatalf("looked at %d keys", looked)
				}
			}
		})
	}
}

func (d *desk) must(t testing.TB, w Want) Loan {
	t.Helper()
	l, err := d.Borrow(w)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

var someModels = []string{"", "m", "qwen3", "llama3", "unheard of"}

// anything changes something about some key, as the control plane, upstreams and time do.
func (d *desk) anything(r *rand.Rand, keys map[uint64]*leasev1.UpstreamKey) {
	id := r.Uint64N(12) + 1
	k := keys[id]
	if k == nil {
		k = key(id)
		keys[id] = k
	}
	wait := time.Duration(r.Int64N(int64(20 * time.Second)))
	state := open(id, leasev1.Reason_REASON_RATE_LIMITED, wait)
	state.Generation, state.Revision = k.GetGeneration(), k.GetRevision()
	switch r.IntN(12) {
	case 0:
		k.Weight = uint32(r.IntN(4))
	case 1:
		k.Models = [][]string{nil, {"qwen*"}, {"m", "llama*"}, {"*3"}}[r.IntN(4)]
	case 2:
		k.Priority = uint32(r.IntN(2))
	case 3:
		k.Generation++
	case 4:
		k.State = leasev1.AdminState(1 + r.IntN(2))
	case 5:
		k.ExpireTime = nil
		if r.IntN(2) == 0 {
			k.ExpireTime = timestamppb.New(d.wall.Add(wait))
		}
	case 6:
		delete(keys, id)
	case 7:
		d.tell(state)
		return
	case 8:
		if state.Reason = leasev1.Reason_REASON_AUTH_REJECTED; r.IntN(2) == 0 {
			state.State = leasev1.KeyHealth_STATE_CLOSED
		}
		state.OpenFor = nil
		d.tell(state)
		return
	case 9:
		d.clock += wait
		d.wall = d.wall.Add(wait)
		return
	default:
		held := d.keys[KeyID(id)]
		if held == nil {
			return
		}
		d.Settle(Loan{key: held, of: held.lease.Load()}, Attempt{Model: someModels[r.IntN(5)], Verdict: provider.Verdict{
			Class:     []provider.Class{provider.OK, provider.Forbidden, provider.RateLimited, provider.ServerError}[r.IntN(4)],
			ModelOnly: r.IntN(3) > 0, RetryAfter: wait * time.Duration(r.IntN(2)),
		}})
		return
	}
	k = keys[id]
	switch {
	case k == nil && r.IntN(2) == 0:
		d.applyDelta(&leasev1.ResourceDelta{Removed: []*leasev1.Removed{{Kind: leasev1.Kind_KIND_KEY, Id: id}}, CompleteRevision: 1})
	case k == nil || r.IntN(4) == 0:
		var all []*leasev1.UpstreamKey
		for _, k := range keys {
			all = append(all, k)
		}
		d.sync(all...)
	default:
		k.Revision++
		d.give(k)
	}
}

// audit asks every key itself, and compares with what is lent: in the best tier that has any, every key that may serve has as many
// turns as it weighs; and without one, the reason and the first recovery are as told.
func (d *desk) audit(t testing.TB, model string) {
	t.Helper()
	want, best := map[KeyID]int{}, int32(0)
	var miss missed
	turns := 0
	for id, k := range d.keys {
		of := k.lease.Load()
		why, until := k.blockedFor(model, of, d.clock)
		switch {
		case !of.models.match(model):
			miss.model = true
		case why != free:
			miss.add(k, why, until)
		case len(want) == 0 || of.priority < best:
			want, best, turns = map[KeyID]int{id: int(of.weight)}, of.priority, int(of.weight)
		case of.priority == best:
			want[id] = int(of.weight)
			turns += int(of.weight)
		}
	}
	if turns == 0 {
		miss.now = d.clock
		_, err := d.Borrow(Want{Provider: "ollama", Model: model})
		got, _ := errors.AsType[*NoKeyError](err)
		expect, _ := errors.AsType[*NoKeyError](miss.err())
		if got == nil || expect == nil || *got != *expect {
			t.Fatalf("for %q: %v, want %+v", model, err, expect)
		}
		return
	}
	for range turns {
		l := d.must(t, Want{Provider: "ollama", Model: model})
		want[l.KeyID()]--
		d.Return(l)
	}
	for id, left := range want {
		if left != 0 {
			t.Fatalf("for %q: %v has had %d turns too few in %d", model, id, left, turns)
		}
	}
}

func TestNoKeyIsLostAndNoneIsLentAgainstTheWord(t *testing.T) {
	for range 30 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			d, keys := newDesk(t), map[uint64]*leasev1.UpstreamKey{}
			d.lease.renew(d.clock, 1000*time.Hour, 0)
			for range 300 {
				d.anything(r, keys)
				d.audit(t, someModels[r.IntN(len(someModels))])
			}
			for _, model := range someModels {
				d.audit(t, model)
			}
		})
	}
}

func TestAKeyWhoseLifeSeemedOverIsBackSoonAfterTheCalendarIsSetBack(t *testing.T) {
	d := newDesk(t)
	k := key(1)
	k.ExpireTime = timestamppb.New(d.wall.Add(time.Hour))
	d.give(k)
	d.wall = d.wall.AddDate(10, 0, 0) // the machine came up with a wrong date
	d.audit(t, "m")
	d.wall = d.wall.AddDate(-10, 0, 0)
	d.clock += expiredLook
	d.audit(t, "m")
	if d.borrow(t) != 1 {
		t.Error("the key is lost")
	}
}

// One key after the other is barred for a model that is asked for all the time, and comes back.
func TestTheBarredAreLookedAtAFewTimesAtMost(t *testing.T) {
	const n = 300
	d := newDesk(t, someKeys(n, nil)...)
	for id := range KeyID(n - 1) {
		d.fails(t, id+1, "m", provider.Verdict{Class: provider.Forbidden, ModelOnly: true})
		l, looked := d.look(t, plain(0))
		if d.Return(l); looked > manyBars+1 {
			t.Fatalf("with %d barred, a choice looks at %d", id+1, looked)
		}
		d.audit(t, "m")
	}
	d.clock += forbiddenFor
	for range n/wakeBatch + 1 { // each puts some of them back
		d.borrow(t)
	}
	d.audit(t, "m")
}

// Many borrow while everything changes; in the end nothing is held against anyone, and all are lent again.
func TestNoKeyIsLostWhileManyBorrow(t *testing.T) {
	const n = 200
	d := newDesk(t, someKeys(n, func(k *leasev1.UpstreamKey) {
		if k.GetId()%3 == 0 {
			k.Models = []string{"qwen*"}
		}
	})...)
	var clock lockedClock
	d.now = clock.now
	d.lease.renew(clock.now(), 1000*time.Hour, 0)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				w := Want{Provider: "ollama", Model: someModels[n%len(someModels)], Affinity: uint64(n % 2 * i)}
				l, err := d.Borrow(w)
				switch {
				case err != nil:
				case n%7 == 0:
					d.Return(l)
				default:
					d.Settle(l, Attempt{Model: w.Model, Verdict: provider.Verdict{
						Class:     []provider.Class{provider.OK, provider.OK, provider.Forbidden, provider.RateLimited}[n%4],
						ModelOnly: n%3 == 0, RetryAfter: time.Duration(n%5) * time.Second,
					}})
				}
			}
		})
	}
	for round := range 400 {
		id := rand.Uint64N(n) + 1
		switch round % 4 {
		case 0:
			d.tell(open(id, leasev1.Reason_REASON_AUTH_REJECTED, 0))
		case 1:
			d.tell(closed(id, 1))
		case 2:
			k := key(id)
			k.Revision, k.Weight = uint64(round), uint32(1+round%3)
			d.give(k)
		default:
			clock.add(time.Second)
		}
	}
	close(stop)
	running.Wait()
	clock.add(24 * time.Hour)
	for id := range uint64(n) {
		d.tell(closed(id+1, 1))
	}
	d.clock = clock.now()
	for _, model := range someModels {
		d.audit(t, model)
	}
	d.allIn(t)
}

// allIn checks that no loan is out.
func (d *desk) allIn(t testing.TB) {
	t.Helper()
	for id, k := range d.keys {
		if out := k.loans.Load(); out != 0 {
			t.Errorf("%d loans of %v are out", out, id)
		}
	}
	for _, tier := range (*d.rings.Load())["ollama"].tiers {
		if out := tier.loans.out.Load(); out != 0 {
			t.Errorf("%d loans of priority %d are out", out, tier.priority)
		}
	}
}

// lockedClock is a clock that is moved while others look at it.
type lockedClock struct {
	mu sync.Mutex
	at time.Duration
}

func (c *lockedClock) now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *lockedClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at += d
}

// Names that clients make up are bounded in what they cost, and push nobody out for good.
func TestModelsThatClientsMakeUpCostNoViews(t *testing.T) {
	d := newDesk(t, someKeys(100, func(k *leasev1.UpstreamKey) { k.Models = []string{fmt.Sprintf("model-%d*", k.GetId()%80)} })...)
	tier := (*d.rings.Load())["ollama"].tiers[0]
	for i := range 10_000 {
		_, err := d.Borrow(Want{Provider: "ollama", Model: fmt.Sprint("made-up-", i)})
		if none, _ := errors.AsType[*NoKeyError](err); none == nil || none.Cause != CauseModel {
			t.Fatal(err)
		}
	}
	if n := len(*tier.views.shared.Load()); n != 1 {
		t.Errorf("%d views for models that nobody serves, want one", n)
	}
	for range 3 {
		for i := range uint64(80) { // more than there may be views
			model := fmt.Sprintf("model-%d-x", i)
			l, looked := d.look(t, Want{Provider: "ollama", Model: model})
			if !l.of.models.match(model) || looked != 1 {
				t.Fatalf("%v was lent for %s, after a look at %d", l.KeyID(), model, looked)
			}
			d.Return(l)
			d.audit(t, model)
		}
		d.tell(open(7, leasev1.Reason_REASON_RATE_LIMITED, time.Second))
		d.audit(t, "model-7-x")
		d.clock += time.Second
		d.audit(t, "model-7-x")
	}
	if n := len(*tier.views.shared.Load()); n > maxShared {
		t.Errorf("%d views, want at most %d", n, maxShared)
	}
	// A view that had to go is not looked at again, whatever it said.
	for id := range uint64(100) {
		d.tell(open(id+1, leasev1.Reason_REASON_RATE_LIMITED, time.Second))
	}
	for i := range 80 {
		d.audit(t, fmt.Sprintf("model-%d-x", i))
	}
	d.clock += time.Second
	for i := range 80 {
		d.audit(t, fmt.Sprintf("model-%d-x", i))
	}
}

// Those that are back first are of no use to the request: the one that is comes after many.
func TestAKeyThatIsBackIsLentAtOnceHoweverManyAreBackBefore(t *testing.T) {
	const n = 3 * wakeBatch
	d := newDesk(t, someKeys(n, func(k *leasev1.UpstreamKey) {
		if k.GetId() < n {
			k.Models = []string{"llama*"}
		}
	})...)
	for id := range uint64(n) {
		d.tell(open(id+1, leasev1.Reason_REASON_RATE_LIMITED, time.Second+time.Duration(id)))
	}
	if got := d.borrow(t); got != 0 {
		t.Fatalf("%v is lent", got)
	}
	d.clock += 2 * time.Second
	if got := d.borrow(t); got != n {
		t.Errorf("%v is lent, want %v", got, KeyID(n))
	}
}
