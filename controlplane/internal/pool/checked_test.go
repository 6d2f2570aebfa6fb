package pool_test

import (
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestWhatAnOperatorsCheckDoesToAKey(t *testing.T) {
	for _, row := range []struct {
		what    string
		before  []pool.Signal
		found   pool.Signal
		changed bool
		status  pool.Status
		reason  string
	}{
		{"a good key stays", nil, pool.Signal{Reason: pool.Recovered}, false, pool.StatusActive, ""},
		{"a suspect one is acquitted", []pool.Signal{{Reason: pool.AuthRejected}}, pool.Signal{Reason: pool.Recovered}, true, pool.StatusActive, ""},
		{"a suspect one is convicted", []pool.Signal{{Reason: pool.AuthRejected}}, pool.Signal{Reason: pool.AuthRejected}, true, pool.StatusAutoDisabled, "auth_rejected"},
		{"a rejected one is out at once", nil, pool.Signal{Reason: pool.AuthRejected}, true, pool.StatusAutoDisabled, "auth_rejected"},
		{"a limited one waits", nil, pool.Signal{Reason: pool.QuotaExhausted, RetryAfter: time.Hour}, true, pool.StatusCooling, "quota_exhausted"},
		{"a suspect one that is limited is a good one that waits", []pool.Signal{{Reason: pool.AuthRejected}}, pool.Signal{Reason: pool.RateLimited, RetryAfter: time.Minute}, true, pool.StatusCooling, "rate_limited"},
		{"a cool-down never shortens", []pool.Signal{{Reason: pool.RateLimited, RetryAfter: time.Hour}}, pool.Signal{Reason: pool.RateLimited, RetryAfter: time.Minute}, false, pool.StatusCooling, "rate_limited"},
		{"a free question ends no cool-down", []pool.Signal{{Reason: pool.RateLimited, RetryAfter: time.Hour}}, pool.Signal{Reason: pool.Recovered}, false, pool.StatusCooling, "rate_limited"},
		{"an outage is no fact about the key", nil, pool.Signal{Reason: pool.ServerError}, false, pool.StatusActive, ""},
		{"an outage acquits nobody", []pool.Signal{{Reason: pool.AuthRejected}}, pool.Signal{Reason: pool.Timeout}, false, pool.StatusSuspect, "auth_rejected"},
		{"what was asked of an older secret is void", nil, pool.Signal{Reason: pool.AuthRejected, Generation: 7}, false, pool.StatusActive, ""},
		{"a key that is gone", nil, pool.Signal{Key: 99, Reason: pool.AuthRejected}, false, pool.StatusActive, ""},
	} {
		f := newFleet(t, 4, "a")
		for _, s := range row.before {
			s.Key = 1
			f.signal("a", s)
		}
		found := row.found
		if found.Key == 0 {
			found.Key = 1
		}
		if found.Generation == 0 {
			found.Generation = 1
		}
		if got := f.pool.Checked(f.now, found); got != row.changed {
			t.Errorf("%s: changed %v", row.what, got)
		}
		f.save()
		f.deliver()
		f.wantStatus(1, row.status, row.reason)
		if uses := f.nodes["a"].uses(1); uses != (row.status == pool.StatusActive) {
			t.Errorf("%s: the node uses it: %v", row.what, uses)
		}
	}
}

// Convicting a key twice in a row does not lengthen its sentence.
func TestARejectedKeyIsNotPunishedForBeingAskedAgain(t *testing.T) {
	f := newFleet(t, 4, "a")
	s := pool.Signal{Key: 1, Generation: 1, Reason: pool.AuthRejected}
	if !f.pool.Checked(f.now, s) {
		t.Fatal("not put out")
	}
	first, _ := f.pool.KeyView(1)
	if f.pool.Checked(f.now, s) {
		t.Error("put out again")
	}
	if again, _ := f.pool.KeyView(1); again.Health != first.Health {
		t.Errorf("was %+v, is %+v", first.Health, again.Health)
	}
}
