// Package leases is the data plane's side of the lease: what the node may use, who may use it next, and what came of it.
//
// A Book holds the leased keys, providers and tokens. Requests borrow keys from it and settle them; they never wait for the
// control plane. A Session keeps the Book in step while the control plane can be reached, and a Reporter carries the
// counts there. Secrets live in memory only and are wiped when lease and grace are over.
//
// If the process dies, what it had counted since the last sealed report is lost, never counted twice. If the control plane
// dies, everything goes on until lease and grace are over; what was counted meanwhile waits here.
package leases

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/journal"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// Why a request cannot be served. The texts may be shown to clients.
var (
	ErrUnknownToken   = errors.New("unknown, expired or revoked token")
	ErrDirectoryStale = errors.New("this node cannot tell whether the token is good: it has no contact with its control plane")
	ErrNeverSynced    = errors.New("this node has not been given its keys by the control plane yet")
	ErrLeaseOver      = errors.New("this node's lease is over: it has been without its control plane for too long")
)

// staleAfter is how long after the last word from the control plane an unknown token is still held to be no token.
const staleAfter = 30 * time.Second

// Config makes a Book.
type Config struct {
	// Now is the clock that leases are counted by: it must go on while the machine is suspended. Required.
	Now func() time.Duration
	// Wall is the calendar clock, for ends of life. Default time.Now.
	Wall   func() time.Time
	Logger *slog.Logger // default: discards
	// Journal keeps what is counted until it is confirmed, and Past is what former processes have left there; nil: nothing is kept.
	Journal *journal.Writer
	Past    []journal.Past
	// WithoutRest is capacity.Config's.
	WithoutRest bool
}

// Book holds what the node may use. Make it with NewBook.
type Book struct {
	now    func() time.Duration
	wall   func() time.Time
	log    *slog.Logger
	lease  lease
	tokens *tokens.Directory
	shares *capacity.Table
	asker  asker

	counts  counts
	notes   *notes   // nil: there is no journal
	past    []sealed // of former processes
	former  uint64   // the last epoch that they had; 0: no journal tells of any
	signals signals
	probes  chan Probe

	providers atomic.Pointer[map[string]*provider.Provider] // replaced whole, under mu
	rings     atomic.Pointer[map[string]*ring]              // replaced whole, under mu
	queues    sync.Map                                      // provider id → *queue

	_       [64]byte     // what every request writes keeps off what every request reads
	flight  atomic.Int64 // client requests being served
	arrived atomic.Uint64
	_       [64]byte

	mu    sync.Mutex            // guards what follows, and all changes to keys and the maps above
	keys  map[KeyID]*Key        // held
	early map[KeyID]*health     // told about keys that have not arrived yet
	sync  map[any]struct{}      // named in the running full sync: KeyID, tokenID or provider id
	told  map[KeyID]struct{}    // whose health was told in this session
	full  bool                  // a full sync is running
	lists map[string]*modelList // of the keys, by their text
	moved map[string]struct{}   // providers whose rotation is to be made anew
	wakes wakes
	under map[*capacity.Account][]*Key // keys with limits, by what counts them

	renewed time.Duration // when the last message was sent that the control plane has answered
	brittle brittle

	rebuilds rebuilds

	cuts cuts
}

// NewBook makes an empty book: nothing can be served from it until a Session has filled it.
func NewBook(c Config) *Book {
	b := &Book{
		now: c.Now, wall: c.Wall, log: c.Logger, tokens: tokens.NewDirectory(), probes: make(chan Probe, 1024),
		keys: map[KeyID]*Key{}, early: map[KeyID]*health{}, moved: map[string]struct{}{},
		lists: map[string]*modelList{}, under: map[*capacity.Account][]*Key{},
	}
	b.shares = capacity.NewTable(capacity.Config{Now: b.now, Leased: b.lease.valid, Changed: b.roomChanged, WithoutRest: c.WithoutRest})
	b.asker.shares = b.shares
	b.notes = newNotes(c.Journal)
	b.past, b.former = replay(c.Past)
	if b.wall == nil {
		b.wall = time.Now
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.providers.Store(&map[string]*provider.Provider{})
	b.rings.Store(&map[string]*ring{})
	b.wakes.next.Store(int64(never))
	b.signals.init()
	return b
}

// Ready answers nil while requests may be served: a lease or its grace is in force. Otherwise it answers why not.
func (b *Book) Ready() error { return b.lease.check(b.now()) }

// Provider answers a provider by id.
func (b *Book) Provider(id string) (*provider.Provider, bool) {
	p, ok := (*b.providers.Load())[id]
	return p, ok
}

// Token answers the token with this digest. Without recent word from the control plane "not here" is not "not there".
func (b *Book) Token(hash [32]byte) (*tokens.Token, error) {
	t, ok := b.tokens.Lookup(hash)
	switch {
	case ok && !t.ExpireTime.IsZero() && !b.wall().Before(t.ExpireTime):
		return nil, ErrUnknownToken
	case ok:
		return t, nil
	case b.Ready() == nil && b.lease.heardWithin(b.now(), staleAfter): // never before the first full sync, nor after a wipe
		return nil, ErrUnknownToken
	default:
		return nil, ErrDirectoryStale
	}
}

// Arrive counts a client request with this valid token in; Served must follow exactly once, with what this answers.
func (b *Book) Arrive(token uint64) (entry uint64) {
	b.flight.Add(1)
	b.arrived.Add(1)
	if b.notes == nil {
		return 0
	}
	return b.notes.began(requestRow(token, "", "", func(t *leasev1.TokenCounters) { t.Unknown = 1 }))
}

// End is what a client saw.
type End uint8

// The ends of a client request.
const (
	EndOK            End = iota // answered in full
	EndClientError              // answered with a 4xx that the request deserved
	EndLimited                  // answered 429
	EndUnavailable              // answered 503
	EndUpstreamError            // answered 502 or 504
	EndTruncated                // cut after the first byte
	EndCanceled                 // the client went away first
	Ends                        // how many there are
)

// Request is a client request that is over.
type Request struct {
	Token     uint64
	Provider  string
	Model     string
	End       End
	Usage     provider.Usage // of the answer that the client saw
	FromCache bool
	Entry     uint64 // as Arrive answered it
}

// Served counts a request out.
func (b *Book) Served(r Request) {
	b.flight.Add(-1)
	b.countRequest(r)
}

// InFlight answers how many client requests are being served.
func (b *Book) InFlight() int { return int(b.flight.Load()) }

// Held answers how many keys the node holds.
func (b *Book) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.keys)
}

// Providers answers the ids of the providers, sorted.
func (b *Book) Providers() []string {
	m := *b.providers.Load()
	ids := make([]string, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
