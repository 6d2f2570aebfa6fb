package leases

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// grouped is a key of account 7.
func grouped(id uint64) *leasev1.UpstreamKey {
	k := key(id)
	k.GroupId = 7
	return k
}

// Before the control plane has answered: one key of an account meets a limit, and its siblings are not used either. A rejection
// is the key's own.
func TestAnAccountWaitsTogetherAtOnce(t *testing.T) {
	limit := provider.Verdict{Class: provider.RateLimited, RetryAfter: time.Minute, Status: 429}
	quota := provider.Verdict{Class: provider.Quota, RetryAfter: time.Minute, Status: 402}
	for _, row := range []struct {
		name  string
		keys  []*leasev1.UpstreamKey
		met   provider.Verdict
		alone bool // is the only one left that can be lent
	}{
		{"a limit", []*leasev1.UpstreamKey{grouped(1), grouped(2), grouped(3), key(4)}, limit, true},
		{"a quota", []*leasev1.UpstreamKey{grouped(1), grouped(2), grouped(3), key(4)}, quota, true},
		{"a rejection", []*leasev1.UpstreamKey{grouped(1), grouped(2), grouped(3), key(4)}, provider.Verdict{Class: provider.AuthRejected}, false},
		{"without a group", []*leasev1.UpstreamKey{key(1), key(2), key(3), key(4)}, limit, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := newDesk(t, row.keys...)
			d.settle(t, 2, row.met)
			if d.only(t, 4) != row.alone {
				t.Errorf("only key 4 is lent: %v, want %v", !row.alone, row.alone)
			}
			d.clock += time.Minute - time.Second
			if d.only(t, 4) != row.alone {
				t.Error("it ended too early")
			}
			if row.alone && len(d.openKeys()) != 3 {
				t.Errorf("Hello tells of %v, want three keys that wait", d.openKeys())
			}
			d.clock += time.Second
			if d.only(t, 4) {
				t.Error("it did not end")
			}
		})
	}
}

func TestALongerWaitOfASiblingStays(t *testing.T) {
	d := newDesk(t, grouped(1), grouped(2))
	d.settle(t, 1, provider.Verdict{Class: provider.RateLimited, RetryAfter: 2 * time.Minute})
	d.settle(t, 2, provider.Verdict{Class: provider.RateLimited, RetryAfter: time.Minute})
	d.clock += 90 * time.Second
	if got := d.borrow(t); got != 0 {
		t.Errorf("key %d is lent", got)
	}
	d.tell(open(1, leasev1.Reason_REASON_ADMIN, 0))
	d.settle(t, 2, provider.Verdict{Class: provider.RateLimited, RetryAfter: time.Hour})
	if h := d.keys[1].state.Load(); h.reason != admin || h.until != 0 {
		t.Errorf("an operator's disable has become %+v", h)
	}
}

// A limit on one model bars the account for this model, and for no other; to forbid it is a matter of the key.
func TestAnAccountWaitsTogetherForAModel(t *testing.T) {
	limited := provider.Verdict{Class: provider.RateLimited, ModelOnly: true, Status: 429, RetryAfter: time.Minute}
	d := newDesk(t, grouped(1), grouped(2))
	d.fails(t, 1, "big", limited)
	if d.serves(t, "big") || !d.serves(t, "small") {
		t.Error("the account does not wait for this model alone")
	}
	d.clock += time.Minute
	if !d.serves(t, "big") {
		t.Error("it does not end")
	}
	d = newDesk(t, grouped(1), grouped(2))
	d.fails(t, 1, "big", provider.Verdict{Class: provider.Forbidden, ModelOnly: true, Status: 403})
	if !d.serves(t, "big") {
		t.Error("what the upstream forbids to one key is forbidden to its account")
	}
}

// The control plane is there and does not act on what this node reports. It leaves the key alone for a while, and tries again.
func TestARejectionThatNobodyElseBelievesEndsByItself(t *testing.T) {
	d := newDesk(t, key(1))
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	if got := d.refusal(t, "m"); got.Cause != CauseOut {
		t.Errorf("refused as %+v", got)
	}
	d.clock += doubtedRejectWait - time.Second
	if d.borrow(t) != 0 {
		t.Error("the key is used right after its rejection")
	}
	d.clock += time.Second
	if d.borrow(t) != 1 {
		t.Error("the key is never tried again")
	}
	d.endSession()
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	d.clock += 30 * time.Minute
	d.lease.renew(d.clock, time.Minute, time.Hour)
	if d.borrow(t) != 0 {
		t.Error("without a control plane a rejected key is used again")
	}
}

func TestARejectionShortensNoCoolDown(t *testing.T) {
	d := newDesk(t, key(1))
	d.settle(t, 1, provider.Verdict{Class: provider.RateLimited, RetryAfter: 2 * time.Minute})
	d.settle(t, 1, provider.Verdict{Class: provider.AuthRejected})
	d.clock += 2*time.Minute - time.Second
	if d.borrow(t) != 0 {
		t.Error("the key is used before its limit is over")
	}
	d.clock += time.Second
	if d.borrow(t) != 1 {
		t.Error("the key is not used when its limit is over")
	}
}

// When nothing else is left, keys that failed softly serve; those that are out for another reason never do.
func TestTheLeastBadServeWhenNothingElseIsLeft(t *testing.T) {
	const soft = leasev1.Reason_REASON_SERVER_ERROR
	bad := map[string]*leasev1.KeyHealth{
		"disabled by an operator": open(2, leasev1.Reason_REASON_ADMIN, 0),
		"rejected":                open(2, leasev1.Reason_REASON_AUTH_REJECTED, 0),
		"without quota":           open(2, leasev1.Reason_REASON_QUOTA_EXHAUSTED, time.Hour),
		"limited for long":        open(2, leasev1.Reason_REASON_RATE_LIMITED, time.Minute),
	}
	for name, state := range bad {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, key(1), key(2))
			d.tell(open(1, soft, 0), state)
			if !d.only(t, 1) {
				t.Error("the key that failed softly does not serve, or another does")
			}
			d.tell(state, open(1, leasev1.Reason_REASON_AUTH_REJECTED, 0))
			if got := d.borrow(t); got != 0 {
				t.Errorf("key %d serves", got)
			}
		})
	}
	t.Run("a better one is there", func(t *testing.T) {
		d := newDesk(t, key(1), key(2))
		d.tell(open(1, soft, 0))
		if !d.only(t, 2) {
			t.Error("a key that is out serves although another one is free")
		}
	})
	t.Run("expired", func(t *testing.T) {
		gone := key(1)
		gone.ExpireTime = timestamppb.New(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC))
		d := newDesk(t, gone)
		d.tell(open(1, soft, 0))
		if got := d.borrow(t); got != 0 {
			t.Error("a key whose life is over serves")
		}
	})
	t.Run("tried", func(t *testing.T) {
		d := newDesk(t, key(1))
		d.tell(open(1, soft, 0))
		if l, err := d.Borrow(Want{Provider: "ollama", Tried: []KeyID{1}}); err == nil {
			t.Errorf("key %d is lent twice to one request", l.KeyID())
		}
	})
	t.Run("put out for good while lent", func(t *testing.T) {
		d := newDesk(t, key(1))
		d.tell(open(1, soft, 0))
		l := d.must(t, Want{Provider: "ollama"})
		if !l.Usable() {
			t.Fatal("it is lent and may not be used")
		}
		d.tell(open(1, leasev1.Reason_REASON_ADMIN, 0))
		if l.Usable() {
			t.Error("it may still be used against an operator's will")
		}
	})
}
