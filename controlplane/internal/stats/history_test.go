package stats

import (
	"testing"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestHistoryRidesAlong(t *testing.T) {
	var happened []pool.Event
	take := SaveEvents(func() []pool.Event {
		events := happened
		happened = nil
		return events
	})
	f := newFixture(t, take)
	event := func(id pool.KeyID, r pool.Reason) pool.Event {
		return pool.Event{Key: id, Time: noon, Node: "n", Reason: r}
	}
	reasons := func(id pool.KeyID) (list []pool.Reason) {
		events, err := f.KeyEvents(id)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			list = append(list, e.Reason)
		}
		return list
	}

	f.Submit(report(1, noon, keys(1)))
	happened = []pool.Event{event(1, pool.RateLimited), event(2, pool.Timeout), event(1, pool.ServerError)}
	f.commitNow()
	if f.store.writes != 1 {
		t.Errorf("got %d commits for counters and history, want 1", f.store.writes)
	}
	if got := reasons(1); len(got) != 2 || got[0] != pool.ServerError {
		t.Errorf("got %v, want the newest first", got)
	}
	f.commitNow()
	if f.store.writes != 1 {
		t.Error("nothing has happened, and it was written")
	}

	f.store.before = func() error { return errFull }
	happened = []pool.Event{event(1, pool.AuthRejected)}
	f.commitNow()
	f.store.before = nil
	f.commitNow()
	if got := reasons(1); len(got) != 2 {
		t.Errorf("got %v after the disk was full", got)
	}

	f.Forget(keys(1), nil)
	f.commitNow()
	if got := reasons(1); len(got) != 0 {
		t.Errorf("got %v of a deleted key", got)
	}
	if got := reasons(2); len(got) != 1 {
		t.Errorf("got %v of the other key", got)
	}
}
