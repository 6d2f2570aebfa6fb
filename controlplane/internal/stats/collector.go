// Package stats counts what happened in the fleet, exactly once.
//
// Nodes report batches (Submit). A Collector merges them in memory and commits what has come every 200 ms as one tick:
// counts and cursors in one transaction, then the acknowledgement. A batch that arrives again, because its acknowledgement
// was lost or because the control plane died before or after a commit, is told apart by its node's cursor. Every half
// minute a checkpoint folds the log of ticks into absolute rows.
//
// The control plane may die at any time: what was acknowledged is kept, what was not is sent again by the node. Reads
// answer committed counts only, so that no figure ever goes back.
//
// Health of keys rides along in the same transaction, and so costs no commit of its own.
package stats

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// ErrStopped tells that a batch will not be committed by this process any more; the node is to send it to the next one.
var ErrStopped = errors.New("the collector has stopped")

// Collector holds the counters of the fleet. Make it with New; Run commits.
type Collector struct {
	store           Store
	now             func() time.Time
	tickEvery       time.Duration
	checkpointEvery time.Duration
	chunkRows       int
	log             *slog.Logger
	onMerged        func(time.Time, Batch)
	unsaved         func() []pool.Health
	saved           func([]pool.Health)
	budgets         Budgets
	events          func() []pool.Event
	keyKnown        func(pool.KeyID) bool
	tokenKnown      func(pool.TokenID) bool
	loaded          []pool.Health
	given           []pool.Budget
	told            []pool.KeyID // that had a history at New, until Run has looked which of them are gone

	mu         sync.RWMutex // guards what follows; held over no call of the store or of a hook
	table      table        // committed
	cursors    map[stream]Cursor
	open       *openTick // takes batches
	flight     *openTick // being committed, and tried again while the disk is full; else nil
	names      names
	dirty      map[RowKey]struct{} // committed rows that a checkpoint has still to write
	goneKeys   []pool.KeyID        // to be dropped
	goneTokens []pool.TokenID
	goneNow    []pool.KeyID // of those, the ones whose health and history the next tick drops
	stopped    bool

	// The fields below belong to the goroutine of Run.
	seq     uint64                  // of the last committed tick
	folded  uint64                  // of the last tick that went from the log
	expired uint32                  // hours before this one are gone from the store
	held    map[pool.KeyID]struct{} // keys whose health the store has a row of
	drops   []RowKey                // rows that the store has still to delete
	work    *checkpoint             // the checkpoint under way, else nil
	full    bool                    // the disk was full at the last try
}

// Option changes a Collector at its making.
type Option func(*Collector)

// TickEvery sets how often a tick is committed; 200 ms if not given.
func TickEvery(d time.Duration) Option { return func(c *Collector) { c.tickEvery = d } }

// CheckpointEvery sets how often ticks are folded into rows; 30 s if not given.
func CheckpointEvery(d time.Duration) Option { return func(c *Collector) { c.checkpointEvery = d } }

// ChunkRows sets how many rows a checkpoint writes in one transaction; 10,000 if not given.
func ChunkRows(n int) Option { return func(c *Collector) { c.chunkRows = n } }

// Log sets where a full disk is told of; the default logger if not given.
func Log(l *slog.Logger) Option { return func(c *Collector) { c.log = l } }

// OnMerged has each accepted batch passed to f, on the goroutine that submits it.
func OnMerged(f func(now time.Time, b Batch)) Option { return func(c *Collector) { c.onMerged = f } }

// SaveHealth has each tick save what unsaved answers and pass the very same to saved once it is on disk. What is not passed
// to saved must be answered again. Health with nothing in it, as of a key that is gone, deletes the key's row.
func SaveHealth(unsaved func() []pool.Health, saved func([]pool.Health)) Option {
	return func(c *Collector) { c.unsaved, c.saved = unsaved, saved }
}

// Budgets is who knows what is given out of budgets.
type Budgets interface {
	UnsavedBudgets() []pool.Budget
	BudgetsSaved([]pool.Budget)
	SaveBudgets() <-chan struct{} // fires when somebody waits for a save
}

// SaveBudgets has each tick save what is given out of budgets, and a tick made at once when somebody waits for that.
func SaveBudgets(b Budgets) Option { return func(c *Collector) { c.budgets = b } }

type noBudgets struct{}

func (noBudgets) UnsavedBudgets() []pool.Budget { return nil }
func (noBudgets) BudgetsSaved([]pool.Budget)    {}
func (noBudgets) SaveBudgets() <-chan struct{}  { return nil }

// SaveEvents has each tick save what take answers, as the keys' history. What a full disk does not take is lost: it is for
// people, and the next events are coming.
func SaveEvents(take func() []pool.Event) Option { return func(c *Collector) { c.events = take } }

// Known tells which keys and tokens exist, so that late reports about deleted ones make no rows again. Without it all exist.
// Both must already answer false for what is passed to Forget. They are first called by Run, which forgets all that do not
// exist, and by Submit: what they ask must be loaded by then.
func Known(key func(pool.KeyID) bool, token func(pool.TokenID) bool) Option {
	return func(c *Collector) { c.keyKnown, c.tokenKnown = key, token }
}

// New loads what the store has.
func New(store Store, now func() time.Time, opts ...Option) (*Collector, error) {
	c := &Collector{
		store: store, now: now, tickEvery: 200 * time.Millisecond, checkpointEvery: 30 * time.Second, chunkRows: 10_000,
		log: slog.Default(), onMerged: func(time.Time, Batch) {},
		unsaved: func() []pool.Health { return nil }, saved: func([]pool.Health) {},
		events: func() []pool.Event { return nil }, budgets: noBudgets{},
		keyKnown: func(pool.KeyID) bool { return true }, tokenKnown: func(pool.TokenID) bool { return true },
		table: newTable(), cursors: map[stream]Cursor{}, open: newOpenTick(), names: newNames(),
		dirty: map[RowKey]struct{}{}, held: map[pool.KeyID]struct{}{},
	}
	for _, o := range opts {
		o(c)
	}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Forget drops the rows of deleted keys and tokens with the next checkpoint, and the keys' health and history with the next
// tick. What they added to totals stays.
func (c *Collector) Forget(keys []pool.KeyID, tokens []pool.TokenID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goneKeys = append(c.goneKeys, keys...)
	c.goneTokens = append(c.goneTokens, tokens...)
	c.goneNow = append(c.goneNow, keys...)
}
