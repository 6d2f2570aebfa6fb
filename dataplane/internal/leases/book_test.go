package leases

import (
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// desk is a book whose clock stands still unless moved, fed by hand.
type desk struct {
	*Book
	clock time.Duration
	wall  time.Time
	rev   uint64
}

func newDesk(t testing.TB, keys ...*leasev1.UpstreamKey) *desk {
	t.Helper()
	d := &desk{clock: time.Hour, wall: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	d.Book = NewBook(Config{Now: func() time.Duration { return d.clock }, Wall: func() time.Time { return d.wall }})
	d.lease.renew(d.clock, time.Minute, time.Hour)
	d.sync(keys...)
	return d
}

// sync is a full sync.
func (d *desk) sync(keys ...*leasev1.UpstreamKey) []*leasev1.Rejection {
	d.beginSync()
	return d.give(keys...)
}

func (d *desk) give(keys ...*leasev1.UpstreamKey) []*leasev1.Rejection {
	d.rev++
	defer d.hear() // as a session does after each message
	defer d.rebuild()
	return d.applyDelta(&leasev1.ResourceDelta{
		DeltaSeq: d.rev, CompleteRevision: d.rev, Keys: keys,
		Providers: []*leasev1.Provider{{
			Id: "ollama", BaseUrl: "https://ollama.com", Dialect: "ollama", Enabled: true, Strikes: 3,
			EjectFor: durationpb.New(time.Hour), MaxTries: 3,
		}},
	})
}

// rebuild does at once what would be done soon.
func (d *desk) rebuild() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.buildRingsLocked()
}

func (d *desk) tell(states ...*leasev1.KeyHealth) []Probe {
	return d.applyHealth(&leasev1.HealthUpdate{Keys: states})
}

func key(id uint64) *leasev1.UpstreamKey {
	return &leasev1.UpstreamKey{
		Id: id, Revision: 1, Generation: 1, State: leasev1.AdminState_ADMIN_STATE_ENABLED, ProviderId: "ollama", Secret: "s", Weight: 1,
	}
}

func open(id uint64, why leasev1.Reason, wait time.Duration) *leasev1.KeyHealth {
	h := &leasev1.KeyHealth{KeyId: id, Revision: 1, Generation: 1, State: leasev1.KeyHealth_STATE_OPEN, Reason: why}
	if wait > 0 {
		h.OpenFor = durationpb.New(wait)
	}
	return h
}

func closed(id, generation uint64) *leasev1.KeyHealth {
	return &leasev1.KeyHealth{KeyId: id, Revision: 1, Generation: generation, State: leasev1.KeyHealth_STATE_CLOSED}
}

// borrow answers the id of the next key, 0 for none.
func (d *desk) borrow(t *testing.T) KeyID {
	t.Helper()
	loan, err := d.Borrow(Want{Provider: "ollama", Model: "m"})
	if _, none := errors.AsType[*NoKeyError](err); none {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Return(loan)
	return loan.KeyID()
}

// only says whether this key has all the next turns.
func (d *desk) only(t *testing.T, id KeyID) bool {
	t.Helper()
	for range 4 {
		if d.borrow(t) != id {
			return false
		}
	}
	return true
}

func (d *desk) settle(t testing.TB, id KeyID, v provider.Verdict) {
	t.Helper()
	k := d.keys[id]
	d.Settle(Loan{key: k, of: k.lease.Load()}, Attempt{Model: "m", Verdict: v})
}

func TestKeysTakeTurnsByTheirWeight(t *testing.T) {
	heavy := key(1)
	heavy.Weight = 3
	last := key(9)
	last.Priority = 1
	d := newDesk(t, heavy, key(2), key(3), last)
	turns := map[KeyID]int{}
	for range 500 {
		turns[d.borrow(t)]++
	}
	if turns[1] != 300 || turns[2] != 100 || turns[3] != 100 || turns[9] != 0 {
		t.Errorf("turns are %v, want 300, 100, 100 and none for the key of the next priority", turns)
	}
	for id := range uint64(3) {
		d.tell(open(id+1, leasev1.Reason_REASON_AUTH_REJECTED, 0))
	}
	if got := d.borrow(t); got != 9 {
		t.Errorf("with the first tier out, key %d serves, want 9", got)
	}
}

func TestKeysThatAreOutLeaveTheirTurnsToAllOthersAlike(t *testing.T) {
	var keys []*leasev1.UpstreamKey
	for id := range uint64(20) {
		keys = append(keys, key(id+1))
	}
	d := newDesk(t, keys...)
	for id := range uint64(10) {
		d.tell(open(id+3, leasev1.Reason_REASON_AUTH_REJECTED, 0))
	}
	turns := map[KeyID]int{}
	for range 1000 {
		turns[d.borrow(t)]++
	}
	for id, n := range turns {
		if n != 100 {
			t.Errorf("key %d had %d turns of 1000 among 10, want 100", id, n)
		}
	}
}

func TestWhyNoKeyCanBeBorrowed(t *testing.T) {
	only := key(1)
	only.Models = []string{"llama*"}
	for _, row := range []struct {
		name  string
		keys  []*leasev1.UpstreamKey
		told  []*leasev1.KeyHealth
		tried []KeyID
		want  NoKeyError
	}{
		{"there are none", nil, nil, nil, NoKeyError{Cause: CauseNone}},
		{"all were tried", []*leasev1.UpstreamKey{key(1), key(2)}, nil, []KeyID{1, 2}, NoKeyError{Cause: CauseTried}},
		{"all cool down", []*leasev1.UpstreamKey{key(1), key(2)}, []*leasev1.KeyHealth{
			open(1, leasev1.Reason_REASON_RATE_LIMITED, 30*time.Second), open(2, leasev1.Reason_REASON_QUOTA_EXHAUSTED, 20*time.Second),
		}, nil, NoKeyError{Cause: CauseCooling, RetryAfter: 20 * time.Second}},
		{
			"all are rejected",
			[]*leasev1.UpstreamKey{key(1)},
			[]*leasev1.KeyHealth{open(1, leasev1.Reason_REASON_AUTH_REJECTED, 0)},
			nil,
			NoKeyError{Cause: CauseOut},
		},
		{"none may serve the model", []*leasev1.UpstreamKey{only}, nil, nil, NoKeyError{Cause: CauseModel}},
		{"a state this node does not know is no permission", []*leasev1.UpstreamKey{key(1)}, []*leasev1.KeyHealth{
			{KeyId: 1, Generation: 1, State: 77},
		}, nil, NoKeyError{Cause: CauseOut}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(t, row.keys...)
			d.tell(row.told...)
			_, err := d.Borrow(Want{Provider: "ollama", Model: "m", Tried: row.tried})
			var got *NoKeyError
			if !errors.As(err, &got) || *got != row.want {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestALoanIsLookedAtAgainBeforeItIsUsed(t *testing.T) {
	renewed := key(1)
	renewed.Generation, renewed.Revision = 2, 2
	off := key(1)
	off.State, off.Revision = leasev1.AdminState_ADMIN_STATE_DISABLED, 2
	for name, change := range map[string]func(*desk){
		"rejected meanwhile":      func(d *desk) { d.tell(open(1, leasev1.Reason_REASON_AUTH_REJECTED, 0)) },
		"disabled meanwhile":      func(d *desk) { d.tell(open(1, leasev1.Reason_REASON_ADMIN, 0)) },
		"disabled by its copy":    func(d *desk) { d.give(off) },
		"replaced meanwhile":      func(d *desk) { d.give(renewed) },
		"removed meanwhile":       func(d *desk) { d.sync() },
		"lease and grace over":    func(d *desk) { d.clock += 2 * time.Hour },
		"the node fenced":         func(d *desk) { d.wipe() },
		"a state nobody knows of": func(d *desk) { d.tell(&leasev1.KeyHealth{KeyId: 1, Generation: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, key(1))
			loan, err := d.Borrow(Want{Provider: "ollama", Model: "m"})
			if err != nil || !loan.Usable() {
				t.Fatalf("not usable to begin with: %v", err)
			}
			change(d)
			if loan.Usable() {
				t.Error("the loan is still usable")
			}
		})
	}
}

func TestABarrierBeatsEveryOlderCopyOfTheKey(t *testing.T) {
	d := newDesk(t)
	d.tell(open(1, leasev1.Reason_REASON_AUTH_REJECTED, 0)) // before the key itself
	d.give(key(1))
	if d.borrow(t) != 0 {
		t.Error("a key came in after its barrier and is used")
	}
	label := key(1)
	label.Revision = 5
	d.give(label)
	if d.borrow(t) != 0 {
		t.Error("an edit of the label lifted a rejection")
	}
	fresh := key(1)
	fresh.Revision, fresh.Generation = 6, 2
	d.give(fresh)
	if d.borrow(t) != 1 {
		t.Error("a new secret is held to be rejected")
	}
	d.tell(open(1, leasev1.Reason_REASON_RATE_LIMITED, time.Minute)) // late: of generation 1
	if d.borrow(t) != 1 {
		t.Error("a late word about the old secret blocks the new one")
	}
	disabled := open(1, leasev1.Reason_REASON_ADMIN, 0)
	disabled.Revision, disabled.Generation = 7, 2
	d.tell(disabled)
	if d.borrow(t) != 0 {
		t.Error("a disabled key is used")
	}
	enabled := key(1)
	enabled.Revision, enabled.Generation = 8, 3
	d.give(enabled)
	if d.borrow(t) != 1 {
		t.Error("an enabled key is not used")
	}
}

func TestThisNodesOwnFindingsActAtOnceAndOutlastOldWord(t *testing.T) {
	d := newDesk(t, key(1), key(2))
	d.settle(t, 1, provider.Verdict{Class: provider.RateLimited, RetryAfter: 30 * time.Second})
	if !d.only(t, 2) {
		t.Error("a key is used right after its 429")
	}
	d.tell(closed(1, 1)) // sent before the control plane knew
	if !d.only(t, 2) {
		t.Error("an old word lifted the cool-down")
	}
	d.tell(open(1, leasev1.Reason_REASON_RATE_LIMITED, 5*time.Second))
	d.clock += 10 * time.Second
	if !d.only(t, 2) {
		t.Error("a shorter cool-down replaced a longer one")
	}
	d.clock += 20 * time.Second
	if a, b := d.borrow(t), d.borrow(t); a == b {
		t.Error("the cool-down did not end by itself")
	}

	d.settle(t, 2, provider.Verdict{Class: provider.AuthRejected})
	d.tell(closed(2, 1)) // old
	if !d.only(t, 1) {
		t.Error("a key is used right after its 401")
	}
	d.tell(open(2, leasev1.Reason_REASON_AUTH_REJECTED, 0))
	d.tell(closed(2, 1)) // the probe refuted it
	if a, b := d.borrow(t), d.borrow(t); a == b {
		t.Error("the control plane's acquittal has no effect")
	}
}

func TestSoftFailuresAreTheControlPlanesToCountWhileItIsThere(t *testing.T) {
	d := newDesk(t, key(1))
	for range 10 {
		d.settle(t, 1, provider.Verdict{Class: provider.ServerError, Status: 500})
	}
	if d.borrow(t) != 1 {
		t.Error("this node put a key out that the fleet's count has not")
	}
	order, what := d.signals.take()
	if len(order) != 1 || what[order[0]].count != 10 {
		t.Errorf("signals are %v, want one that counts ten", order)
	}
	d.settle(t, 1, provider.Verdict{Class: provider.OK})
	d.settle(t, 1, provider.Verdict{Class: provider.OK})
	if order, _ := d.signals.take(); len(order) != 1 || order[0].reason != recovered {
		t.Errorf("signals are %v, want the one success that ends the row", order)
	}
}

func TestWithoutASessionThisNodeCountsForItself(t *testing.T) {
	d := newDesk(t, key(1), key(2))
	d.endSession()
	fail := provider.Verdict{Class: provider.ServerError}
	d.settle(t, 1, fail)
	d.settle(t, 1, provider.Verdict{Class: provider.OK})
	d.settle(t, 1, fail)
	d.settle(t, 1, fail)
	if a, b := d.borrow(t), d.borrow(t); a == b {
		t.Fatal("two in a row put the key out")
	}
	d.settle(t, 1, fail)
	if !d.only(t, 2) {
		t.Error("three in a row did not put the key out")
	}
	if held := d.openKeys(); len(held) != 1 || held[0].GetKeyId() != 1 {
		t.Errorf("Hello would tell %v, want key 1", held)
	}
	d.sync(key(1), key(2)) // the control plane is back, and says nothing against the key
	if a, b := d.borrow(t), d.borrow(t); a == b {
		t.Error("the control plane's judgement did not replace this node's")
	}
}

func TestAFullSyncTakesAwayWhatItDoesNotName(t *testing.T) {
	d := newDesk(t, key(1), key(2))
	d.tell(open(1, leasev1.Reason_REASON_SERVER_ERROR, 0))
	d.beginSync()
	d.applyDelta(&leasev1.ResourceDelta{DeltaSeq: 1, Keys: []*leasev1.UpstreamKey{key(1)}})
	if d.borrow(t) != 2 {
		t.Error("a sync that is not complete took a key away, or lifted a barrier")
	}
	d.applyDelta(&leasev1.ResourceDelta{DeltaSeq: 2, CompleteRevision: 9})
	if got := d.borrow(t); got != 1 {
		t.Errorf("key %d serves, want 1: 2 is gone, and nothing was told against 1 in this session", got)
	}
	if _, ok := d.Provider("ollama"); ok {
		t.Error("a provider that was not named is still there")
	}
}

func TestWhatCannotBeUsedIsRefusedAndTheFormerCopyServes(t *testing.T) {
	for name, spoil := range map[string]func(*leasev1.UpstreamKey){
		"no secret":         func(k *leasev1.UpstreamKey) { k.Secret = "" },
		"no generation":     func(k *leasev1.UpstreamKey) { k.Generation = 0 },
		"absurd weight":     func(k *leasev1.UpstreamKey) { k.Weight = 4_000_000_000 },
		"another provider":  func(k *leasev1.UpstreamKey) { k.ProviderId = "openrouter" },
		"provider is empty": func(k *leasev1.UpstreamKey) { k.ProviderId = "" },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, key(1))
			bad := key(1)
			bad.Revision = 2
			spoil(bad)
			if refused := d.give(bad); len(refused) != 1 || refused[0].GetId() != 1 || refused[0].GetRevision() != 2 {
				t.Errorf("refused %v", refused)
			}
			if d.borrow(t) != 1 {
				t.Error("the former copy does not serve")
			}
		})
	}
	d := newDesk(t, key(1))
	refused := d.applyDelta(&leasev1.ResourceDelta{Providers: []*leasev1.Provider{{Id: "ollama", BaseUrl: "x", Dialect: "klingon"}}})
	if len(refused) != 1 || refused[0].GetProviderId() != "ollama" {
		t.Errorf("refused %v", refused)
	}
	if p, ok := d.Provider("ollama"); !ok || p.Dialect != "ollama" {
		t.Error("the former provider is gone")
	}
}

func TestExpiryIsTheNodesOwnToSee(t *testing.T) {
	d := newDesk(t)
	k := key(1)
	k.ExpireTime = timestamppb.New(d.wall.Add(time.Minute))
	d.give(k)
	if d.borrow(t) != 1 {
		t.Error("not used before its end")
	}
	d.wall = d.wall.Add(time.Minute)
	if d.borrow(t) != 0 {
		t.Error("used at its end")
	}
}

func TestHowLongANodeServes(t *testing.T) {
	for _, row := range []struct {
		name string
		at   time.Duration // after the lease was asked for
		want error
	}{
		{"with a lease", 59 * time.Second, nil},
		{"a hundredth before the lease as the control plane counts it", 59500 * time.Millisecond, nil},
		{"in grace", time.Hour, nil},
		{"after both", time.Hour + time.Minute, ErrLeaseOver},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(t, key(1))
			d.clock += row.at
			if err := d.Ready(); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
	d := &desk{}
	d.Book = NewBook(Config{Now: func() time.Duration { return time.Hour }})
	if err := d.Ready(); !errors.Is(err, ErrNeverSynced) {
		t.Errorf("a book that was never filled: %v", err)
	}
}

func TestAnUnknownTokenIsUnknownOnlyWhileTheControlPlaneIsNear(t *testing.T) {
	d := newDesk(t)
	hash := make([]byte, 32)
	hash[0] = 7
	d.applyDelta(&leasev1.ResourceDelta{Tokens: []*leasev1.ClientToken{{Id: 5, Hash: hash}}})
	if tok, err := d.Token([32]byte(hash)); err != nil || tok.ID != 5 {
		t.Errorf("got %v, %v", tok, err)
	}
	if _, err := d.Token([32]byte{1}); !errors.Is(err, ErrUnknownToken) {
		t.Errorf("got %v", err)
	}
	d.clock += 31 * time.Second
	if _, err := d.Token([32]byte{1}); !errors.Is(err, ErrDirectoryStale) {
		t.Errorf("after half a minute of silence: %v", err)
	}
	if _, err := d.Token([32]byte(hash)); err != nil {
		t.Errorf("a known token is refused without the control plane: %v", err)
	}
	d.applyDelta(&leasev1.ResourceDelta{Removed: []*leasev1.Removed{{Kind: leasev1.Kind_KIND_TOKEN, Id: 5}}})
	if _, err := d.Token([32]byte(hash)); err == nil {
		t.Error("a revoked token is still good")
	}
}

func TestCountsAreMarginalsAndUnknownModelsAreOne(t *testing.T) {
	d := newDesk(t, key(1))
	d.settle(t, 1, provider.Verdict{Class: provider.OK})
	for _, name := range []string{"m", "made-up-1", "made-up-2", ""} {
		d.Arrive(1)
		d.Served(Request{Token: 5, Provider: "ollama", Model: name, End: EndOK})
	}
	b := d.counts.take()
	var names []string
	for _, m := range b.GetModels() {
		names = append(names, m.GetName())
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"", "m", "other"}) {
		t.Errorf("models are %q", names)
	}
	if len(b.GetKeys()) != 1 || b.GetKeys()[0].GetOk() != 1 || len(b.GetTokens()) != 3 {
		t.Errorf("batch is %v", b)
	}
	if d.counts.take() != nil || d.InFlight() != 0 {
		t.Error("something is left after everything was taken")
	}
}

// After the lease nothing is held any more, tokens neither: a good one is then not known, but not unknown.
func TestAfterTheLeaseNoTokenIsUnknown(t *testing.T) {
	d := newDesk(t, key(1))
	d.hear()
	d.wipe()
	if err := d.Ready(); !errors.Is(err, ErrLeaseOver) {
		t.Errorf("not ready because %v", err)
	}
	if _, err := d.Token([32]byte{7}); !errors.Is(err, ErrDirectoryStale) {
		t.Errorf("a token that may be good: %v", err)
	}
}
