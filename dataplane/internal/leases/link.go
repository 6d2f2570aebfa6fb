package leases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// LinkConfig says how the node reaches its control plane and as whom.
type LinkConfig struct {
	Book    *Book
	Address string // host:port of the control plane
	DataDir string // where the node's key and certificate are kept
	NodeID  string // asked for when joining
	Region  string // asked for when joining
	Zone    string
	Version string
	// JoinToken answers the token for the first contact, or an error that says how to give one.
	JoinToken func() (Secret, error)
	// ClearCaches forgets what is kept of these providers' answers, of all if none is named; nil: nothing is kept. It must
	// have been done when it returns, because then it is confirmed.
	ClearCaches func(providers []string)
	// Caches answers what is kept, for heartbeats; nil: nothing is.
	Caches func() []CacheStatus
	// Dial replaces the network in tests.
	Dial   func(ctx context.Context, address string) (net.Conn, error)
	Logger *slog.Logger
}

// Link keeps the node in touch with its control plane: it joins once, opens a session, reports, and starts again whenever
// the connection breaks. It never gives up while its context lives, and requests never wait for it.
type Link struct {
	cfg      LinkConfig
	book     *Book
	log      *slog.Logger
	reporter *Reporter
	instance []byte
	id       atomic.Pointer[identity] // nil: not loaded, or not joined yet; replaced by a session's renewal
	state    atomic.Pointer[string]   // what the link is at, in words for /readyz and logs
	spread   time.Duration            // wait before the first reconnect
	term     uint64                   // highest seen within lineage
	lineage  string
	epoch    uint64        // given by the control plane last; 0: none yet
	next     *accepted     // the session that follows the running one; nil: none has been opened ahead
	memory   memory        // of what sessions have told
	leave    chan struct{} // closed by Leave
	ended    chan struct{} // closed by Run
	drained  atomic.Bool   // an operator wants no new requests taken
	evicted  atomic.Bool   // an operator has put the node out for good
}

// Why a node has stopped serving for good.
var (
	// ErrFenced tells that a newer process runs under this node's name.
	ErrFenced = errors.New("a newer process runs under this node's name: this one has been fenced and must not serve any more")
	// ErrEvicted tells that an operator has put the node out.
	ErrEvicted = errors.New("this node has been evicted: it holds nothing any more and must not serve; " +
		"to have it back let it join under another name")
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// NewLink makes a link; Run starts it.
func NewLink(c LinkConfig) *Link {
	l := &Link{
		cfg: c, book: c.Book, log: c.Logger, reporter: newReporter(c.Book), instance: newInstance(),
		leave: make(chan struct{}), ended: make(chan struct{}),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.at("not connected to the control plane yet")
	return l
}

// Drained says whether an operator wants this node to take no new requests.
func (l *Link) Drained() bool { return l.drained.Load() }

// Reporter is the link's reporter.
func (l *Link) Reporter() *Reporter { return l.reporter }

// State says in words what the link is at.
func (l *Link) State() string { return *l.state.Load() }

func (l *Link) at(state string) { l.state.Store(&state) }

// Run keeps the link until ctx ends. It answers an error only when going on would be wrong: the node has been fenced or evicted,
// or its files are damaged.
func (l *Link) Run(ctx context.Context) error {
	defer close(l.ended)
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() { l.watchLease(ctx) })
	defer func() {
		if l.next != nil {
			l.next.close()
		}
	}()
	wait := firstBackoff
	for {
		heard, err := l.once(ctx)
		switch {
		case l.evicted.Load(), errors.Is(err, ErrEvicted):
			l.book.wipe()
			return ErrEvicted
		case errors.Is(err, ErrFenced):
			l.book.wipe()
			return err
		case l.next != nil && ctx.Err() == nil:
			wait = firstBackoff
			continue
		case ctx.Err() != nil, l.leaving():
			return nil
		case errors.Is(err, errDamagedFiles):
			return err
		case errors.Is(err, errCountsLost), errors.Is(err, errEpochTwice):
			l.instance = newInstance() // as a new process, for the sake of a new epoch
		}
		var pause time.Duration
		if heard { // a session that lived: everybody lost it in the same moment, so spread out
			wait = firstBackoff
			pause = time.Duration(rand.Int64N(int64(max(l.spread, firstBackoff)))) //nolint:gosec // spreads load
		} else {
			pause = time.Duration(rand.Int64N(int64(wait))) //nolint:gosec // spreads load
			wait = min(wait*2, maxBackoff)
		}
		l.at("control plane out of reach: " + l.explain(err))
		l.log.Warn("control plane out of reach", "error", l.explain(err), "retry_in", pause.String(), "serving", l.book.Ready() == nil)
		select {
		case <-time.After(pause):
		case <-l.leave:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

func (l *Link) leaving() bool {
	select {
	case <-l.leave:
		return true
	default:
		return false
	}
}

var errDamagedFiles = errors.New("damaged node files")

// once lives through one session, the one that was opened ahead or a new one, for which it joins if need be; heard says whether
// the control plane accepted it.
func (l *Link) once(ctx context.Context) (heard bool, err error) {
	w := l.next
	l.next = nil
	if w == nil {
		if err := l.identify(ctx); err != nil {
			return false, err
		}
		if w, err = l.open(ctx, openTimeout); err != nil {
			l.book.endSession()
			return false, stopped(err)
		}
	}
	err = l.session(ctx, w)
	_, broken := errors.AsType[*violation](err) // then backing off is better than spreading out
	return !broken, err
}

// identify has the node known by a certificate that is good.
func (l *Link) identify(ctx context.Context) error {
	id := l.id.Load()
	if id == nil {
		var err error
		if id, err = loadIdentity(l.cfg.DataDir); err != nil {
			return fmt.Errorf("%w: %w; remove %s to join anew", errDamagedFiles, err, l.cfg.DataDir)
		}
	}
	if id == nil || !l.book.wall().Before(id.leaf.NotAfter) {
		l.at("joining")
		var err error
		if id, err = l.joinAndSave(ctx); err != nil {
			l.id.Store(nil)
			return err
		}
	}
	l.id.Store(id)
	return nil
}

func (l *Link) joinAndSave(ctx context.Context) (*identity, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	id, err := l.join(ctx)
	if err != nil {
		return nil, fmt.Errorf("joining: %w", err)
	}
	if err := id.save(l.cfg.DataDir); err != nil {
		return nil, fmt.Errorf("keeping the node's certificate: %w", err)
	}
	l.log.Info("joined", "node", l.cfg.NodeID, "region", l.cfg.Region, "certificate_ends", id.leaf.NotAfter)
	return id, nil
}

func (l *Link) connect(creds credentials.TransportCredentials) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(4 << 20)),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
	}
	if l.cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(l.cfg.Dial))
	}
	return grpc.NewClient("passthrough:///"+l.cfg.Address, options...)
}

// watchLease wipes the secrets as soon as lease and grace are over, and takes out the keys that have gone stale.
func (l *Link) watchLease(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if l.book.expire() {
				l.log.Error("lease and grace are over: keys wiped, refusing requests until the control plane is back")
			}
			l.book.outdate()
		}
	}
}

// explain answers what an operator needs to know of an error.
func (l *Link) explain(err error) string {
	s, ok := status.FromError(err)
	switch {
	case err == nil:
		return "the control plane ended the session"
	case !ok:
		return err.Error()
	case strings.Contains(s.Message(), "certificate signed by unknown authority"), strings.Contains(s.Message(), "unknown certificate authority"):
		return "the control plane at this address is not the one this node joined (it may have been set up anew); " +
			"remove the folder " + l.cfg.DataDir + " to join it"
	case s.Code() == codes.PermissionDenied && l.id.Load() != nil:
		return s.Message() + "; remove the folder " + l.cfg.DataDir + " to join anew"
	case s.Code() == codes.Unavailable:
		return s.Message()
	default:
		return s.Code().String() + ": " + s.Message()
	}
}
