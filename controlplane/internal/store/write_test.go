package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"ollama-api-pool/controlplane/internal/pool"
)

func TestManyWritersLoseNothing(t *testing.T) {
	t.Parallel()
	const writers, each = 16, 625 // 10,000
	o := initConfig(t)
	s := openConfig(t, o)
	var commits int
	var last uint64
	s.OnCommit(func(changes []pool.Change) {
		commits++
		for _, c := range changes {
			if c.Revision != max(last, 2)+1 {
				t.Errorf("revision %d was told after %d", c.Revision, last)
			}
			last = c.Revision
		}
	})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				revision, err := s.Update(t.Context(), func(tx *Tx) error {
					_, err := tx.PutKey(aKey(w*each + n))
					return err
				})
				if err != nil || revision == 0 || revision > s.Revision() {
					t.Errorf("revision %d of %d, %v", revision, s.Revision(), err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d keys in %d commits", writers*each, commits)
	if commits > writers*each/2 {
		t.Errorf("%d commits for %d keys: they are not grouped", commits, writers*each)
	}

	s = reopen(t, o, s)
	seen := map[string]bool{}
	view(t, s, func(tx *Tx) error {
		for k, err := range tx.Keys() {
			if err != nil {
				return err
			}
			seen[k.Secret.Reveal()] = true
		}
		same(t, "count", tx.CountKeys("ollama"), writers*each)
		return nil
	})
	same(t, "stored", len(seen), writers*each)
	same(t, "revision", s.Revision(), uint64(2+writers*each))
}

// A function that fails half-way changes nothing, and its neighbours in the same commit do not notice.
func TestFailingFunctionsInAGroup(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	errMine := errors.New("mine")
	var wg sync.WaitGroup
	for n := range 400 {
		wg.Go(func() {
			_, err := s.Update(t.Context(), func(tx *Tx) error {
				if _, err := tx.PutKey(aKey(n)); err != nil {
					return err
				}
				if n%3 != 0 {
					return nil
				}
				return errors.Join(errMine, tx.DeleteProvider("ollama"), tx.PutAdmin(Admin{Name: "evil"}))
			})
			if n%3 == 0 != errors.Is(err, errMine) {
				t.Errorf("function %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error {
		for n := range 400 {
			if _, ok := tx.KeyBySecret(aKey(n).Secret); ok != (n%3 != 0) {
				t.Errorf("key %d: there %v", n, ok)
			}
		}
		if _, err := tx.Admin("evil"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a failed function's admin: %v", err)
		}
		_, err := tx.Provider("ollama")
		return err
	})
	same(t, "revision", s.Revision(), uint64(2+400-134))
}

func TestChangesAreToldBeforeTheCallerIsAnswered(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	var told atomic.Uint64
	s.OnCommit(func(changes []pool.Change) {
		last := changes[len(changes)-1].Revision
		if s.Revision() != last {
			t.Errorf("told %d, but the store is at %d", last, s.Revision())
		}
		told.Store(last)
	})
	var wg sync.WaitGroup
	for n := range 100 {
		wg.Go(func() {
			revision, err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.PutKey(aKey(n)); return err })
			if err != nil || told.Load() < revision {
				t.Errorf("answered %d, told up to %d, %v", revision, told.Load(), err)
			}
		})
	}
	wg.Wait()
	reopen(t, o, s)
}

// A lone caller has nobody to wait for. In a bubble, time passes only when everybody waits for it.
func TestALoneWriterDoesNotWaitForOthers(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	synctest.Test(t, func(t *testing.T) {
		s := openConfig(t, o)
		start := time.Now()
		for n := range 20 {
			update(t, s, func(tx *Tx) error { _, err := tx.PutKey(aKey(n)); return err })
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("20 updates waited %v", d)
		}
	})
}

func TestContextCountsOnlyUntilTheFunctionHasRun(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	gone, cancel := context.WithCancelCause(t.Context())
	errGone := errors.New("gone")
	cancel(errGone)
	if _, err := s.Update(gone, func(*Tx) error { t.Error("it was run"); return nil }); !errors.Is(err, errGone) {
		t.Errorf("ended before: %v", err)
	}

	ctx, cancelNow := context.WithCancel(t.Context())
	if _, err := s.Update(ctx, func(tx *Tx) error {
		defer cancelNow()
		_, err := tx.PutKey(aKey(1))
		return err
	}); err != nil {
		t.Errorf("ended while it ran: %v", err)
	}

	// One that waits for a slow neighbour leaves at once.
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := s.Update(t.Context(), func(*Tx) error { close(entered); <-leave; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancelNow = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelNow()
	if _, err := s.Update(ctx, func(*Tx) error { t.Error("it was run"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended in the queue: %v", err)
	}
	close(leave)
	wg.Wait()
	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error { same(t, "keys", tx.CountKeys("ollama"), 1); return nil })
}

func TestFunctionThatPanicsStrikesItsCallerOnly(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	func() {
		defer func() {
			if p := recover(); p != "mine" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = s.Update(t.Context(), func(tx *Tx) error {
			_, _ = tx.PutKey(aKey(1))
			panic("mine")
		})
	}()
	update(t, s, func(tx *Tx) error { _, err := tx.PutKey(aKey(2)); return err })
	s = reopen(t, o, s)
	view(t, s, func(tx *Tx) error { same(t, "keys", tx.CountKeys("ollama"), 1); return nil })
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	o := initConfig(t)
	s := openConfig(t, o)
	var stored atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				_, err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.PutKey(aKey(w*1_000_000 + n)); return err })
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				stored.Add(1)
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := s.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view: %v, want ErrClosed", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
	s = openConfig(t, o)
	view(t, s, func(tx *Tx) error { same(t, "keys", tx.CountKeys("ollama"), int(stored.Load())); return nil })
}

// failCommit has commits fail as a disk would, with nothing of them on disk.
func failCommit(s *Store, err error) {
	s.commit = func(b *bbolt.Tx) error { return errors.Join(err, b.Rollback()) }
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		syscall.ENOSPC, syscall.EDQUOT,
		fmt.Errorf("file resize error: %s", syscall.ENOSPC), //nolint:errorlint // as bbolt wraps it
	} {
		o := initConfig(t)
		s := openConfig(t, o)
		s.OnCommit(func([]pool.Change) { t.Error("a change was told that did not happen") })
		failCommit(s, err)
		if _, err := s.Update(t.Context(), func(tx *Tx) error { _, err := tx.PutKey(aKey(1)); return err }); !errors.Is(err, ErrNoSpace) {
			t.Errorf("got %v, want ErrNoSpace", err)
		}
		same(t, "revision", s.Revision(), uint64(2))
		if s.Err() != nil {
			t.Errorf("the store gave up: %v", s.Err())
		}

		s.OnCommit(nil)
		s.commit = (*bbolt.Tx).Commit // somebody has made room
		update(t, s, func(tx *Tx) error { _, err := tx.PutKey(aKey(2)); return err })
		s = reopen(t, o, s)
		view(t, s, func(tx *Tx) error { same(t, "keys", tx.CountKeys("ollama"), 1); return nil })
	}
}

func TestFailedDisk(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*bbolt.Tx) error{
		"write error": func(b *bbolt.Tx) error { return errors.Join(syscall.EIO, b.Rollback()) },
		"no space, but only after the page that makes the commit valid": func(b *bbolt.Tx) error {
			return errors.Join(syscall.ENOSPC, b.Commit())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := initConfig(t)
			s := openConfig(t, o)
			s.OnCommit(func([]pool.Change) { t.Error("a change was told that may not have happened") })
			s.commit = fail
			put := func(tx *Tx) error { _, err := tx.PutKey(aKey(1)); return err }
			if _, err := s.Update(t.Context(), put); !errors.Is(err, ErrFailed) {
				t.Errorf("got %v, want ErrFailed", err)
			}
			select {
			case <-s.Failed():
			default:
				t.Error("Failed is not closed")
			}
			if !errors.Is(s.Err(), ErrFailed) {
				t.Errorf("Err is %v", s.Err())
			}
			if _, err := s.Update(t.Context(), put); !errors.Is(err, ErrFailed) {
				t.Errorf("the next: %v, want ErrFailed", err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			openConfig(t, o) // checks everything, since the file was not closed in order
		})
	}
}

// Random stories, told to the store and to a map, must end alike.
func TestRandomStories(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	o := initConfig(t)
	s := openConfig(t, o)
	model := map[pool.KeyID]plain{}
	tokens := map[pool.TokenID]pool.Token{}
	errMine := errors.New("mine")
	for range 300 {
		draft, draftTokens := maps.Clone(model), maps.Clone(tokens)
		fail := random.IntN(4) == 0
		_, err := s.Update(t.Context(), func(tx *Tx) error {
			for range random.IntN(8) {
				if err := randomStep(random, tx, draft, draftTokens); err != nil {
					return err
				}
			}
			if fail {
				return errMine
			}
			return nil
		})
		if fail != errors.Is(err, errMine) || !fail && err != nil {
			t.Fatal(err)
		}
		if !fail {
			model, tokens = draft, draftTokens
		}
		if random.IntN(50) == 0 {
			s = reopen(t, o, s)
			compare(t, s, model, tokens)
		}
	}
	s = reopen(t, o, s)
	compare(t, s, model, tokens)
}

func randomStep(random *rand.Rand, tx *Tx, model map[pool.KeyID]plain, tokens map[pool.TokenID]pool.Token) error {
	k, token := aKey(random.IntN(40)), aToken(random.IntN(40))
	k.ID, token.ID = pool.KeyID(random.Uint64()), pool.TokenID(random.Uint64()) // not drawn by the store, so that a seed tells all
	if random.IntN(2) == 0 {
		k.Provider = "openrouter"
	}
	switch old, found := anyOf(random, model); random.IntN(6) {
	case 0, 1:
		return putKey(tx, k, model)
	case 2:
		if !found {
			return nil
		}
		k.ID, k.Provider = old, model[old].key.Provider
		return putKey(tx, k, model)
	case 3:
		if !found {
			return nil
		}
		delete(model, old)
		return tx.DeleteKey(old, false)
	case 4:
		t, err := tx.PutToken(token)
		if errors.Is(err, ErrExists) {
			return nil
		}
		tokens[t.ID] = t
		return err
	default:
		id, found := anyOf(random, tokens)
		if !found {
			return nil
		}
		delete(tokens, id)
		return tx.DeleteToken(id)
	}
}

// putKey expects what the model lets it expect.
func putKey(tx *Tx, k pool.Key, model map[pool.KeyID]plain) error {
	taken := false
	for id, other := range model {
		taken = taken || id != k.ID && other.secret == k.Secret.Reveal()
	}
	stored, err := tx.PutKey(k)
	if taken {
		if !errors.Is(err, ErrExists) {
			return fmt.Errorf("a second key with the secret: %w", err)
		}
		return nil
	}
	model[stored.ID] = plainKey(stored)
	return err
}

func compare(t *testing.T, s *Store, model map[pool.KeyID]plain, tokens map[pool.TokenID]pool.Token) {
	t.Helper()
	view(t, s, func(tx *Tx) error {
		keys := map[pool.KeyID]plain{}
		counts := map[pool.ProviderID]int{"ollama": 0, "openrouter": 0}
		var before pool.KeyID
		for k, err := range tx.Keys() {
			if err != nil || k.ID <= before {
				t.Errorf("key %v after %v, %v", k.ID, before, err)
			}
			before = k.ID
			keys[k.ID] = plainKey(k)
			counts[k.Provider]++
		}
		same(t, "keys", keys, model)
		for provider, n := range counts {
			same(t, "keys of "+string(provider), tx.CountKeys(provider), n)
		}
		got := map[pool.TokenID]pool.Token{}
		for token, err := range tx.Tokens() {
			if err != nil {
				t.Error(err)
			}
			got[token.ID] = token
		}
		same(t, "tokens", got, tokens)
		return nil
	})
}

// anyOf draws evenly, and alike for one seed.
func anyOf[K ~uint64, V any](random *rand.Rand, m map[K]V) (K, bool) {
	var chosen K
	best := uint64(0)
	salt := random.Uint64()
	for k := range m {
		if score := (uint64(k) ^ salt) * 0x9E3779B97F4A7C15; score >= best {
			chosen, best = k, score
		}
	}
	return chosen, len(m) > 0
}
