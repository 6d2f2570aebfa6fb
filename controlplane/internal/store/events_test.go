package store

import (
	"errors"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/stats"
)

func happen(t *testing.T, s *Stats, events ...pool.Event) {
	t.Helper()
	if err := s.CommitTick(stats.Tick{Events: events}); err != nil {
		t.Fatal(err)
	}
}

func history(t *testing.T, s *Stats, id pool.KeyID) []pool.Event {
	t.Helper()
	events, err := s.KeyEvents(id)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func TestTheLastHundredEventsOfAKeyAreKept(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	s := openStatsFile(t, path)
	at := time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	whole := pool.Event{
		Key: 7, Time: at, Node: "eu-1", Reason: pool.BrokenAnswer, HTTPStatus: 200, Count: 3, Probe: true,
		Status: pool.StatusAutoDisabled, Until: at.Add(time.Hour),
	}
	const most = pool.KeyID(1<<64 - 1)
	happen(t, s, whole, pool.Event{Key: 6, Time: at}, pool.Event{Key: 8, Time: at}, pool.Event{Key: most, Time: at})
	same(t, "an event", history(t, s, 7), []pool.Event{whole})
	for n := range 250 {
		happen(t, s, pool.Event{Key: 7, Time: at, Count: n}, pool.Event{Key: 7, Time: at, Count: 1000 + n})
	}
	got := history(t, s, 7)
	same(t, "kept", len(got), stats.EventsKept)
	same(t, "newest", got[0].Count, 1249)
	same(t, "oldest", got[99].Count, 200)
	for _, other := range []pool.KeyID{6, 8, most} {
		same(t, "of another key", len(history(t, s, other)), 1)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openStatsFile(t, path)
	defer s.Close()
	_, loaded := loadAll(t, s)
	same(t, "keys with a history", loaded.Told, []pool.KeyID{6, 7, 8, most})
	if err := s.CommitTick(stats.Tick{DropEvents: []pool.KeyID{7, 9}}); err != nil {
		t.Fatal(err)
	}
	same(t, "of a key that is gone", len(history(t, s, 7)), 0)
	same(t, "of another key", len(history(t, s, 8)), 1)
}

// A file of a release that kept no history is opened and keeps one from now on.
func TestAFileWithoutHistoryIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	path := newStatsFile(t)
	s := openStatsFile(t, path)
	err := s.db.Update(func(b *bbolt.Tx) error { return b.DeleteBucket([]byte(statsEvents)) })
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = openStatsFile(t, path)
	defer s.Close()
	happen(t, s, pool.Event{Key: 1, Time: time.Now()})
	same(t, "history", len(history(t, s, 1)), 1)
}

func TestADamagedHistoryIsRefused(t *testing.T) {
	t.Parallel()
	s := openStatsFile(t, newStatsFile(t))
	defer s.Close()
	for _, value := range []string{"", "\x02", "\x01\xff", "\x01\x18\x80\x02"} { // the last one: reason 256
		if err := s.db.Update(func(b *bbolt.Tx) error {
			return b.Bucket([]byte(statsEvents)).Put(append(number(1), number(1)...), []byte(value))
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.KeyEvents(1); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: got %v, want ErrDamaged", value, err)
		}
	}
}
