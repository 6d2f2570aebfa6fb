package leases

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

func newInstance() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails: see crypto/rand
	return id
}

// session is one session with the control plane. One goroutine sends, one receives.
type session struct {
	link    *Link
	stream  leasev1.LeaseService_SessionClient
	welcome *leasev1.Welcome
	told    bool               // whether to drain
	move    chan time.Duration // how soon to go to another control plane; capacity 1
	moving  sync.Mutex         // held while a message is applied, and while the next session is being opened
	opening atomic.Bool        // the next session is being opened
	moved   bool               // there is one: nothing that comes here is applied any more; guarded by moving
	watch   *watch             // of the receiver

	applied struct { // by the receiver, told by the sender
		delta, health, command atomic.Uint64
		mu                     sync.Mutex
		refused                []*leasev1.Rejection
		wake                   chan struct{} // capacity 1
	}
	beats struct { // when each heartbeat was sent: the lease counts from there
		mu      sync.Mutex
		seq     uint64
		sent    map[uint64]time.Duration
		renewed time.Duration
	}
}

// accepted is a session that the control plane has accepted and that has not begun here.
type accepted struct {
	session *session
	client  leasev1.LeaseServiceClient
	sent    time.Duration // when Hello was
	close   func()
}

// openTimeout is how long the control plane may take to accept a session.
const openTimeout = 10 * time.Second

// open opens a session over a connection of its own, which lasts until ctx ends or it is closed.
func (l *Link) open(ctx context.Context, timeout time.Duration) (*accepted, error) {
	conn, err := l.connect(credentials.NewTLS(l.id.Load().tls(l.book.wall)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &session{link: l, move: make(chan time.Duration, 1)}
	s.applied.wake = make(chan struct{}, 1)
	s.beats.sent = map[uint64]time.Duration{}
	w := &accepted{session: s, client: leasev1.NewLeaseServiceClient(conn), sent: l.book.now(), close: func() {
		cancel()
		_ = conn.Close()
	}}
	l.book.signals.prepare()
	late := time.AfterFunc(timeout, cancel)
	defer late.Stop()
	if err := s.open(ctx, w.client); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// session lives through a session.
func (l *Link) session(parent context.Context, w *accepted) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	defer w.close()
	s, client := w.session, w.client
	defer func() {
		if l.next == nil { // else what happens meanwhile is told there
			l.book.endSession()
		}
	}()
	l.book.beginSync()
	l.welcomed(s.welcome, w.sent)
	s.beats.renewed = l.book.now() // not when Hello was sent: a control plane that stood still has just spoken
	l.book.shares.Restart()
	l.book.asker.connect(client, s.welcome.GetNodeEpoch())
	defer l.book.asker.disconnect()
	l.at("connected")
	l.log.Info("session opened", "epoch", s.welcome.GetNodeEpoch(), "term", s.welcome.GetTerm(),
		"lease", s.welcome.GetLeaseTtl().AsDuration().String())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.receive() })
	g.Go(func() error { return s.send(ctx) })
	g.Go(func() error { return l.reporter.run(ctx, client, s.welcome.GetReportInterval().AsDuration()) })
	g.Go(func() error { return l.renewCertificate(ctx, client) })
	g.Go(func() error { return l.moveOn(parent, ctx, s) })
	g.Go(func() error { <-ctx.Done(); w.close(); return nil }) // whoever fails first ends the streams of the others
	return stopped(g.Wait())
}

// stopped tells the control plane's word that this process must stop from all other ends of a session.
func stopped(err error) error {
	if status.Code(err) != codes.Aborted {
		return err
	}
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == "NODE_EVICTED" {
			return ErrEvicted
		}
	}
	return ErrFenced
}

// open says Hello and takes the Welcome.
func (s *session) open(ctx context.Context, client leasev1.LeaseServiceClient) error {
	var err error
	if s.stream, err = client.Session(ctx); err != nil {
		return err
	}
	l := s.link
	hello := &leasev1.Hello{
		InstanceId: l.instance, Zone: l.cfg.Zone, Version: l.cfg.Version, OpenKeys: l.book.openKeys(), NodeEpoch: l.epoch,
		Holdings: wireHoldings(l.book.shares.Holdings()),
		Lineage:  []byte(l.lineage), Term: l.term, Revision: l.memory.revision,
	}
	// An error of Send is io.EOF; the reason comes with Recv.
	_ = s.stream.Send(&leasev1.SessionRequest{Message: &leasev1.SessionRequest_Hello{Hello: hello}})
	first, err := s.stream.Recv()
	if err != nil {
		return err
	}
	if s.welcome = first.GetWelcome(); s.welcome == nil {
		return errors.New("the control plane did not begin with a Welcome")
	}
	if s.watch, err = l.watch(s); err != nil {
		return err
	}
	if s.welcome.GetNodeEpoch() <= l.book.former {
		l.epoch = l.book.former
		return errEpochTwice
	}
	return l.checkTimes(s.welcome)
}

// checkTimes refuses a lease of no length.
func (l *Link) checkTimes(w *leasev1.Welcome) error {
	for _, d := range []time.Duration{
		w.GetLeaseTtl().AsDuration(), w.GetHeartbeatInterval().AsDuration(), w.GetReportInterval().AsDuration(),
	} {
		if d <= 0 {
			return errors.New("the control plane gave a lease or an interval of no length")
		}
	}
	l.lineage, l.term = string(w.GetLineage()), w.GetTerm()
	return nil
}

func (l *Link) welcomed(w *leasev1.Welcome, sent time.Duration) {
	l.spread, l.epoch = w.GetReconnectSpread().AsDuration(), w.GetNodeEpoch()
	l.book.renew(sent, w.GetLeaseTtl().AsDuration(), w.GetGrace().AsDuration())
	l.reporter.welcome(w.GetNodeEpoch(), w.GetLastOutcomeSeq(), int(w.GetOutcomeWindow()))
}

// receive applies what the control plane says, until the stream ends.
func (s *session) receive() error {
	s.moving.Lock()
	defer s.moving.Unlock()
	for {
		m, err := s.next()
		if err != nil {
			return s.watch.lost(err)
		}
		if err := s.watch.see(m); err != nil {
			return err
		}
		b := s.link.book
		switch m := m.GetMessage().(type) {
		case *leasev1.SessionResponse_Renewal:
			s.renewed(m.Renewal)
		case *leasev1.SessionResponse_Delta:
			s.refuse(b.applyDelta(m.Delta))
			if m.Delta.GetCompleteRevision() > 0 {
				s.undrained()
			}
			s.applied.delta.Store(m.Delta.GetDeltaSeq())
			s.wake()
		case *leasev1.SessionResponse_Health:
			for _, p := range b.applyHealth(m.Health) {
				select {
				case b.probes <- p:
				default: // nobody takes them: the control plane asks somebody else when this one's time is up
				}
			}
			s.applied.health.Store(m.Health.GetHealthSeq())
			s.wake()
		case *leasev1.SessionResponse_Grants:
			b.applyGrants(m.Grants)
			s.wake()
		case *leasev1.SessionResponse_Command:
			s.do(m.Command)
		case *leasev1.SessionResponse_Drain:
			s.toMove(m.Drain)
		}
		b.hear()
	}
}

func (s *session) renewed(r *leasev1.LeaseRenewal) {
	s.beats.mu.Lock()
	sent, known := s.beats.sent[r.GetHeartbeatSeq()]
	for seq := range s.beats.sent {
		if seq <= r.GetHeartbeatSeq() {
			delete(s.beats.sent, seq)
		}
	}
	if known {
		s.beats.renewed = sent
	}
	s.beats.mu.Unlock()
	if known && r.GetTerm() == s.welcome.GetTerm() && r.GetLeaseTtl().AsDuration() > 0 {
		s.link.book.renew(sent, r.GetLeaseTtl().AsDuration(), s.welcome.GetGrace().AsDuration())
	}
}

func (s *session) refuse(refused []*leasev1.Rejection) {
	if len(refused) == 0 {
		return
	}
	for _, r := range refused {
		s.link.log.Error("refused what the control plane sent", "kind", r.GetKind().String(), "provider", r.GetProviderId(),
			"revision", r.GetRevision(), "reason", r.GetReason())
	}
	s.applied.mu.Lock()
	s.applied.refused = append(s.applied.refused, refused...)
	s.applied.mu.Unlock()
}

func (s *session) wake() {
	select {
	case s.applied.wake <- struct{}{}:
	default:
	}
}

// Leave ends the lease in order: everything counted is confirmed, then the control plane is told, and Run returns. It waits
// no longer than ctx. Nothing may be served any more.
func (l *Link) Leave(ctx context.Context) error {
	err := l.reporter.Flush(ctx)
	close(l.leave)
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
	return err
}
