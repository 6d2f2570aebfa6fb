package leases

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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
	watch   *watch // of the receiver

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

// session opens a session and lives through it.
func (l *Link) session(ctx context.Context, conn *grpc.ClientConn) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := leasev1.NewLeaseServiceClient(conn)
	s := &session{link: l}
	s.applied.wake = make(chan struct{}, 1)
	s.beats.sent = map[uint64]time.Duration{}
	sent := l.book.now()
	l.book.signals.prepare()
	defer l.book.endSession()
	if err := s.open(ctx, client, cancel); err != nil {
		return false, fenced(err)
	}
	l.book.beginSync()
	l.welcomed(s.welcome, sent)
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
	g.Go(func() error { <-ctx.Done(); cancel(); return nil }) // whoever fails first ends the streams of the others
	err = g.Wait()
	_, broken := errors.AsType[*violation](err) // then backing off is better than spreading out
	return !broken, fenced(err)
}

// fenced tells the control plane's word that this process must stop from all other ends of a session.
func fenced(err error) error {
	if status.Code(err) == codes.Aborted {
		return ErrFenced
	}
	return err
}

// open says Hello and takes the Welcome.
func (s *session) open(ctx context.Context, client leasev1.LeaseServiceClient, cancel func()) error {
	late := time.AfterFunc(10*time.Second, cancel)
	defer late.Stop()
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
	for {
		m, err := s.stream.Recv()
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
			s.link.spread = m.Drain.GetReconnectWithin().AsDuration()
			s.link.log.Info("the control plane is about to stop", "reason", m.Drain.GetReason())
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
