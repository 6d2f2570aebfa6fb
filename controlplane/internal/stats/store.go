package stats

import (
	"errors"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// ErrNoSpace is in a store's error when the disk is full and nothing was changed: the call may be made again. After any
// other error what is on disk is unknown, so it must not.
var ErrNoSpace = errors.New("no space for counters")

// Store keeps counters. It is called by one goroutine at a time.
//
// A tick is appended to a log in the transaction that moves the cursors. A checkpoint folds the log into absolute rows, in
// chunks between which a crash does no harm: each row says which tick it includes.
type Store interface {
	// LoadStats answers what is kept. Each row is passed to each, with the log's ticks added.
	LoadStats(each func(Row) error) (Loaded, error)
	// CommitTick writes all of a tick, durably, or nothing.
	CommitTick(Tick) error
	// Checkpoint writes all of one chunk, durably, or nothing.
	Checkpoint(Chunk) error
	// KeyEvents answers a key's history, newest first. It may be called by anyone at any time until the store is closed.
	KeyEvents(id pool.KeyID) ([]pool.Event, error)
	// DropRange deletes up to limit rows from the key from on, before the key to, and answers how many it found.
	DropRange(from, to RowKey, limit int) (int, error)
}

// Row is a row of counts: what is added in a tick, absolute in a checkpoint and at loading. Its times are in Unix seconds,
// of the newest event, success and failure; 0: none. Only rows of keys and tokens have them.
type Row struct {
	Key                    RowKey
	Counts                 []uint64
	Used, Success, Failure int64
	Pending                bool // at loading: ticks were added, so that the next checkpoint must write the row
}

// Add adds a tick's row.
func (r *Row) Add(d Row) {
	if n := len(d.Counts) - len(r.Counts); n > 0 {
		r.Counts = append(r.Counts, make([]uint64, n)...)
	}
	add(r.Counts, d.Counts)
	r.Used, r.Success, r.Failure = max(r.Used, d.Used), max(r.Success, d.Success), max(r.Failure, d.Failure)
}

// Cursor is how far a node's batches of one epoch are counted.
type Cursor struct {
	Node       pool.NodeID
	Epoch, Seq uint64
	CommitTime time.Time
}

// Tick is what one commit adds.
type Tick struct {
	Seq        uint64 // of the log, rising by one with each tick that has rows
	Rows       []Row
	Cursors    []Cursor
	Health     []pool.Health
	DropHealth []pool.KeyID
	Events     []pool.Event // what happened with keys; the store keeps the last EventsKept of each
	DropEvents []pool.KeyID // keys whose history goes
	Budgets    []pool.Budget
}

// EventsKept is how many events of a key are kept.
const EventsKept = 100

// Chunk is a part of a checkpoint.
type Chunk struct {
	AsOf uint64 // the tick that the rows include
	Put  []Row
	Drop []RowKey

	Folds       bool   // this chunk completes the rows: the log may go
	Fold        uint64 // up to this tick
	DropCursors []Cursor
}

// Loaded is what is kept beside the rows.
type Loaded struct {
	Seq     uint64 // of the last tick
	Folded  uint64 // last tick that went from the log
	Cursors []Cursor
	Health  []pool.Health
	Told    []pool.KeyID // keys that have a history
	Budgets []pool.Budget
}
