// Package jobs does work on many keys: it imports them, and asks upstreams about those that are there.
//
// A job answers when it is done, with one result for each line or key; none is passed over in silence. Its changes are made
// in chunks, each of which happens whole or not at all. Whoever hangs up, or whatever fails in the middle, leaves what was
// done so far; the same job again does only the rest, because a key that is there already is a duplicate.
//
// A line may hold an e-mail address, a password and a session besides the key. Only the address is kept, as the key's
// label; of the rest nothing leaves the function that reads the line. No result, error or log line holds any of it.
package jobs

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
	"ollama-api-pool/controlplane/internal/store"
)

// MaxLines is how many lines or keys one job takes.
const MaxLines = 5000

const workers = 16 // questions of one job under way

// Prober asks upstreams about keys. An error is the context's.
type Prober interface {
	Check(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, error)
	Examine(ctx context.Context, of pool.Provider, key pool.Secret) (probe.Answer, probe.Models, error)
}

// Config of a Runner. All but Now and Log are needed.
type Config struct {
	Store  *store.Store
	Pool   *pool.Pool
	Prober Prober
	// Now is the clock; default time.Now.
	Now func() time.Time
	// Log gets one line per job; default: none.
	Log *slog.Logger
}

// Runner runs jobs. Make it with New.
type Runner struct {
	store  *store.Store
	pool   *pool.Pool
	prober Prober
	now    func() time.Time
	log    *slog.Logger
}

// New makes a Runner.
func New(c Config) *Runner {
	r := &Runner{store: c.Store, pool: c.Pool, prober: c.Prober, now: c.Now, log: c.Log}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r
}

// The kinds and states of a job.
const (
	KindImport = "import"
	KindCheck  = "check"

	StateDone    = "done"
	StateStopped = "stopped" // the rest was not tried
)

// Job is what came of one.
type Job struct {
	ID, Kind, State string
	Start, End      time.Time
	DryRun          bool
	Results         []Result
}

func (r *Runner) begin(kind string, dryRun bool, results int) *Job {
	id := "j_" + strings.ToLower(rand.Text()[:13])
	return &Job{ID: id, Kind: kind, State: StateDone, Start: r.now(), DryRun: dryRun, Results: make([]Result, results)}
}

func (r *Runner) end(ctx context.Context, j *Job) *Job {
	j.End = r.now()
	for _, res := range j.Results {
		if res.Reason == NotTried {
			j.State = StateStopped
		}
	}
	attrs := []any{"job", j.ID, "kind", j.Kind, "state", j.State, "dry_run", j.DryRun, "duration_s", j.End.Sub(j.Start).Seconds()}
	for _, o := range outcomes[j.Kind] {
		attrs = append(attrs, string(o), j.Counts()[string(o)])
	}
	r.log.InfoContext(ctx, "job ended", attrs...)
	return j
}

// Done answers how many results are more than "not tried".
func (j *Job) Done() int {
	n := 0
	for _, r := range j.Results {
		if r.Reason != NotTried {
			n++
		}
	}
	return n
}

// Counts answers how many results there are of each sort, none left out.
func (j *Job) Counts() map[string]int {
	counts := map[string]int{}
	for _, o := range outcomes[j.Kind] {
		counts[string(o)] = 0
	}
	for _, r := range j.Results {
		counts[string(r.Outcome)]++
		if r.Applied {
			counts[applied]++
		}
	}
	return counts
}

// Categories answers how many of the good keys there are of each category that was found.
func (j *Job) Categories() map[string]int {
	counts := map[string]int{}
	for _, r := range j.Results {
		if r.Category != "" && r.Outcome == Added {
			counts[r.Category]++
		}
	}
	return counts
}
