package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/store"
)

// fixture is a real store and pool, and an upstream that answers by rule.
type fixture struct {
	t      *testing.T
	runner *Runner
	store  *store.Store
	pool   *pool.Pool
	log    *bytes.Buffer
	asked  atomic.Int64
	answer func(ctx context.Context, key string) (probe.Answer, probe.Models, error)
}

func (f *fixture) Check(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, error) {
	a, _, err := f.Examine(ctx, of, key)
	return a, err
}

func (f *fixture) Examine(ctx context.Context, _ pool.Provider, key pool.Secret) (probe.Answer, probe.Models, error) {
	f.asked.Add(1)
	return f.answer(ctx, key.Reveal())
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &bytes.Buffer{}, answer: func(context.Context, string) (probe.Answer, probe.Models, error) {
		return probe.Answer{Finding: probe.Good}, probe.Models{Names: []string{"kimi-k2"}, Category: "kimi"}, nil
	}}
	o := store.Options{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	if err := store.Init(o); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f.store, f.pool = s, pool.New(pool.Config{Start: time.Now(), Term: 1})
	var changes []pool.Change
	if err := s.View(func(tx *store.Tx) error {
		for p, err := range tx.Providers() {
			if err != nil {
				return err
			}
			changes = append(changes, pool.Change{Revision: p.Revision, Provider: &p})
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	f.pool.Load(time.Now(), changes, nil)
	s.OnCommit(func(changes []pool.Change) { f.pool.Apply(time.Now(), changes) })
	f.runner = New(Config{Store: s, Pool: f.pool, Prober: f, Log: slog.New(slog.NewTextHandler(f.log, nil))})
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
		if strings.Contains(f.log.String(), "canary") {
			t.Errorf("the log holds a secret: %s", f.log)
		}
	})
	return f
}

func (f *fixture) provider(id pool.ProviderID) pool.Provider {
	f.t.Helper()
	p, ok := f.pool.Provider(id)
	if !ok {
		f.t.Fatalf("no provider %s", id)
	}
	return p
}

func (f *fixture) run(what Import) *Job {
	f.t.Helper()
	if what.Provider.ID == "" {
		what.Provider = f.provider("ollama")
	}
	job, err := f.runner.Import(f.t.Context(), what)
	if err != nil {
		f.t.Fatal(err)
	}
	return job
}

func (f *fixture) wantCounts(job *Job, want map[string]int) {
	f.t.Helper()
	got := job.Counts()
	maps.DeleteFunc(got, func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(got, want) {
		f.t.Errorf("counts are %v, want %v", got, want)
	}
}

func (f *fixture) keys() (n int) {
	f.pool.EachKey(0, func(pool.KeyView) bool { n++; return true })
	return n
}

func keyText(n int) string { return fmt.Sprintf("sk-canary-%020d", n) }

func keyLines(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "user%d@example.com----pw-canary----session-canary----%s\n", n, keyText(n))
	}
	return b.String()
}

func TestAnImportAnswersEachLine(t *testing.T) {
	f := start(t)
	text := keyLines(0, 2) + "\n" + keyText(1) + "\nbroken----a----b\n" + keyLines(2, 3)
	job := f.run(Import{Lines: ReadText(text)})
	f.wantCounts(job, map[string]int{"added": 3, "duplicate": 1, "invalid": 1})
	var lines []string
	for _, r := range job.Results {
		lines = append(lines, fmt.Sprint(r.Line, " ", r.Outcome))
		if (r.ID == 0) != (r.Outcome == Invalid || r.Outcome == Duplicate) {
			t.Errorf("line %d has id %v", r.Line, r.ID)
		}
	}
	if got := strings.Join(lines, ", "); got != "1 added, 2 added, 4 duplicate, 5 invalid, 6 added" {
		t.Errorf("results are %s", got)
	}
	if job.State != StateDone || job.Done() != 5 || job.Kind != KindImport || !strings.HasPrefix(job.ID, "j_") {
		t.Errorf("the job is %+v", job)
	}
	if v, ok := f.pool.KeyView(job.Results[0].ID); !ok || v.Key.Label != "user0@example.com" || v.Key.Provider != "ollama" || v.Key.Weight != 1 {
		t.Errorf("the first key is %+v", v)
	}
	if !strings.Contains(f.log.String(), job.ID) || !strings.Contains(f.log.String(), "added=3") {
		t.Errorf("the log says %s", f.log)
	}
}

// Import twice is import once, in any order, and what is there already is named.
func TestImportTwiceIsImportOnce(t *testing.T) {
	f := start(t)
	lines := ReadText(keyLines(0, 1200)) // three chunks
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	f.wantCounts(f.run(Import{Lines: lines}), map[string]int{"added": 1200})
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	again := f.run(Import{Lines: lines})
	f.wantCounts(again, map[string]int{"duplicate": 1200})
	for _, r := range again.Results {
		if v, ok := f.pool.KeyView(r.ID); !ok || v.Key.Display != r.Display {
			t.Fatalf("line %d is said to be %v", r.Line, r.ID)
		}
	}
	if f.keys() != 1200 {
		t.Errorf("%d keys", f.keys())
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	f := start(t)
	f.run(Import{Lines: ReadText(keyLines(0, 1))})
	job := f.run(Import{Lines: ReadText(keyLines(0, 3)), DryRun: true})
	f.wantCounts(job, map[string]int{"added": 2, "duplicate": 1})
	job = f.run(Import{Lines: ReadText(keyLines(0, 3)), DryRun: true, Validate: true})
	f.wantCounts(job, map[string]int{"added": 2, "duplicate": 1})
	if f.keys() != 1 || f.asked.Load() != 2 {
		t.Errorf("%d keys, %d questions", f.keys(), f.asked.Load())
	}
}

func TestAKeyOfAnotherProviderIsNotMoved(t *testing.T) {
	f := start(t)
	f.run(Import{Provider: f.provider("openrouter"), Lines: ReadText(keyLines(0, 1))})
	job := f.run(Import{Lines: ReadText(keyLines(0, 2))})
	f.wantCounts(job, map[string]int{"added": 1, "failed": 1})
	if r := job.Results[0]; r.Reason != OtherProvider || r.ID != 0 {
		t.Errorf("got %+v", r)
	}
}

// Many imports of the same keys at once, and of others: each key is there once.
func TestImportsAtOnce(t *testing.T) {
	f := start(t)
	var wg sync.WaitGroup
	var sum atomic.Int64
	for n := range 8 {
		wg.Go(func() {
			job, err := f.runner.Import(t.Context(), Import{Provider: f.provider("ollama"), Lines: ReadText(keyLines(n*50, n*50+200)), Validate: n%2 == 0})
			if err != nil {
				t.Error(err)
				return
			}
			sum.Add(int64(job.Counts()["added"]))
			if got := job.Counts()["added"] + job.Counts()["duplicate"]; got != 200 {
				t.Errorf("%d of 200 lines are answered for", got)
			}
		})
	}
	wg.Wait()
	if sum.Load() != 550 || f.keys() != 550 {
		t.Errorf("added %d, there are %d", sum.Load(), f.keys())
	}
}

// A chunk that the database does not take is told line by line; nothing of it is there.
func TestAFailedChunkIsTold(t *testing.T) {
	f := start(t)
	if err := f.store.Close(); err != nil {
		t.Fatal(err)
	}
	job := &Job{Kind: KindImport, Results: make([]Result, 2)}
	var entries []*entry
	for i, l := range ReadText(keyLines(0, 2)) {
		entries = append(entries, &entry{line: l, result: &job.Results[i]})
	}
	f.runner.add(t.Context(), Import{Provider: f.provider("ollama")}, entries)
	f.wantCounts(job, map[string]int{"failed": 2})
	for _, r := range job.Results {
		if r.Reason != StoreUnavailable || r.ID != 0 || r.Message() == "" {
			t.Errorf("got %+v", r)
		}
	}
}

func TestValidation(t *testing.T) {
	f := start(t)
	answers := map[string]probe.Answer{
		keyText(0): {Finding: probe.Good},
		keyText(1): {Finding: probe.Rejected, Reason: probe.AuthRejected},
		keyText(2): {Finding: probe.Limited, Reason: probe.QuotaExhausted, RetryAfter: time.Hour},
		keyText(3): {Reason: probe.Timeout},
		keyText(4): {Finding: probe.Good},
	}
	f.answer = func(_ context.Context, key string) (probe.Answer, probe.Models, error) {
		m := probe.Models{}
		if key == keyText(0) {
			m.Category = "qwen"
		}
		return answers[key], m, nil
	}
	job := f.run(Import{Lines: ReadText(keyLines(0, 5) + "bad"), Validate: true, ExpireTime: time.Now().Add(time.Hour)})
	f.wantCounts(job, map[string]int{"added": 3, "failed": 2, "invalid": 1})
	if !maps.Equal(job.Categories(), map[string]int{"qwen": 1}) {
		t.Errorf("categories are %v", job.Categories())
	}
	for i, want := range []string{"added  active", "failed auth_rejected ", "added quota_exhausted cooling", "failed timeout ", "added  active"} {
		r, status := job.Results[i], pool.Status("")
		if v, ok := f.pool.KeyView(r.ID); ok {
			status, _, _ = pool.StatusAt(v.Key, v.Health, time.Now())
			if v.Key.Category != r.Category || v.Key.ExpireTime.IsZero() {
				t.Errorf("line %d is stored as %+v", r.Line, v.Key)
			}
		}
		if got := fmt.Sprint(r.Outcome, " ", r.Reason, " ", status); got != want {
			t.Errorf("line %d: %s, want %s", r.Line, got, want)
		}
	}
}

// An upstream that is gone is not asked five thousand times; what was not tried is told.
func TestAnUpstreamThatIsGone(t *testing.T) {
	f := start(t)
	f.answer = func(_ context.Context, key string) (probe.Answer, probe.Models, error) {
		if key < keyText(100) {
			return probe.Answer{Finding: probe.Good}, probe.Models{}, nil
		}
		return probe.Answer{Reason: probe.Unreachable}, probe.Models{}, nil
	}
	job := f.run(Import{Lines: ReadText(keyLines(0, MaxLines)), Validate: true})
	// The last good answer may come late and have the counting begin anew.
	if n := f.asked.Load(); n < 100+giveUpAfter || n > 100+2*giveUpAfter+workers {
		t.Errorf("asked %d times", n)
	}
	counts := job.Counts()
	if job.State != StateStopped || counts["added"] != 100 || counts["failed"] != MaxLines-100 || int64(job.Done()) != f.asked.Load() {
		t.Errorf("%s, done %d, %v", job.State, job.Done(), counts)
	}
	f.answer = func(context.Context, string) (probe.Answer, probe.Models, error) {
		return probe.Answer{Finding: probe.Good}, probe.Models{}, nil
	}
	f.wantCounts(f.run(Import{Lines: ReadText(keyLines(0, MaxLines)), Validate: true}), map[string]int{"added": MaxLines - 100, "duplicate": 100})
}

// Who hangs up keeps what was found good until then.
func TestWhoHangsUp(t *testing.T) {
	f := start(t)
	ctx, leave := context.WithCancel(t.Context())
	f.answer = func(ctx context.Context, key string) (probe.Answer, probe.Models, error) {
		if key == keyText(50) {
			leave()
		}
		return probe.Answer{Finding: probe.Good}, probe.Models{}, ctx.Err()
	}
	job, err := f.runner.Import(ctx, Import{Provider: f.provider("ollama"), Lines: ReadText(keyLines(0, 1000)), Validate: true})
	if err != nil {
		t.Fatal(err)
	}
	if added := job.Counts()["added"]; added < 30 || added > 70 || f.keys() != added || job.State != StateStopped {
		t.Errorf("added %d, there are %d, %s", added, f.keys(), job.State)
	}
	if _, err := f.runner.Import(ctx, Import{}); !errors.Is(err, context.Canceled) {
		t.Errorf("who is gone gets %v", err)
	}
}

func TestCheck(t *testing.T) {
	f := start(t)
	f.run(Import{Lines: ReadText(keyLines(0, 6))})
	var keys []pool.Key
	f.pool.EachKey(0, func(v pool.KeyView) bool { keys = append(keys, v.Key); return true })
	byKey := map[string]probe.Answer{}
	f.answer = func(_ context.Context, key string) (probe.Answer, probe.Models, error) {
		return byKey[key], probe.Models{}, nil
	}
	good := probe.Answer{Finding: probe.Good}
	rejected := probe.Answer{Finding: probe.Rejected, Reason: probe.AuthRejected}
	rows := []struct {
		before pool.Signal
		answer probe.Answer
		want   string
	}{
		{pool.Signal{}, good, "valid  active active false"},
		{pool.Signal{}, rejected, "rejected auth_rejected active auto_disabled true"},
		{pool.Signal{Reason: pool.AuthRejected}, good, "valid  suspect active true"},
		{pool.Signal{}, probe.Answer{Finding: probe.Limited, Reason: probe.RateLimited, RetryAfter: time.Minute}, "limited rate_limited active cooling true"},
		{pool.Signal{Reason: pool.AuthRejected}, probe.Answer{Reason: probe.ServerError}, "unknown server_error suspect suspect false"},
		{pool.Signal{Reason: pool.RateLimited, RetryAfter: time.Hour}, good, "valid  cooling cooling false"},
	}
	for i, row := range rows {
		byKey[keys[i].Secret.Reveal()] = row.answer
		if row.before.Reason != pool.NoReason {
			row.before.Key, row.before.Generation = keys[i].ID, keys[i].Generation
			f.pool.Signal(time.Now(), "node", row.before)
		}
	}
	for _, apply := range []bool{false, true} { // what would be, then what is
		job, err := f.runner.Check(t.Context(), Check{Keys: keys, Apply: apply})
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			r := job.Results[i]
			want := row.want
			if !apply {
				want = strings.Replace(want, "true", "false", 1)
			}
			if got := fmt.Sprint(r.Outcome, " ", r.Reason, " ", r.Before, " ", r.After, " ", r.Applied); got != want {
				t.Errorf("apply %v, key %d: %s, want %s", apply, i, got, want)
			}
		}
		counts := map[string]int{"valid": 3, "rejected": 1, "limited": 1, "unknown": 1}
		if apply {
			counts["applied"] = 3
		}
		f.wantCounts(job, counts)
	}
	if n := f.asked.Load(); n != 2*(6+1) {
		t.Errorf("%d questions: a rejection is confirmed by a second one", n)
	}
}

// An outage met by a check of everything puts no key out.
func TestACheckDuringAnOutagePutsNoKeyOut(t *testing.T) {
	f := start(t)
	f.run(Import{Lines: ReadText(keyLines(0, 300))})
	var keys []pool.Key
	f.pool.EachKey(0, func(v pool.KeyView) bool { keys = append(keys, v.Key); return true })
	f.answer = func(_ context.Context, key string) (probe.Answer, probe.Models, error) {
		reasons := []probe.Reason{probe.ServerError, probe.Timeout, probe.Unreachable, probe.BrokenAnswer}
		return probe.Answer{Reason: reasons[key[len(key)-1]%4]}, probe.Models{}, nil
	}
	job, err := f.runner.Check(t.Context(), Check{Keys: keys, Apply: true})
	if err != nil {
		t.Fatal(err)
	}
	if c := job.Counts(); c["unknown"] != 300 || c["applied"] != 0 || job.State != StateStopped {
		t.Errorf("%s %v", job.State, c)
	}
	for id, c := range f.pool.KeyCounts(time.Now()) {
		if c.Active != c.Total {
			t.Errorf("%s: %d of %d keys are active", id, c.Active, c.Total)
		}
	}
}
