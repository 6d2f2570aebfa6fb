package leases

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
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

	applied struct { // by the receiver, told by the sender
		delta, health atomic.Uint64
		mu            sync.Mutex
		refused       []*leasev1.Rejection
		wake          chan struct{} // capacity 1
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
	s.beats.renewed = sent
	l.at("connected")
	l.log.Info("session opened", "epoch", s.welcome.GetNodeEpoch(), "term", s.welcome.GetTerm(),
		"lease", s.welcome.GetLeaseTtl().AsDuration().String())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.receive() })
	g.Go(func() error { return s.send(ctx) })
	g.Go(func() error { return l.reporter.run(ctx, client, s.welcome.GetReportInterval().AsDuration()) })
	g.Go(func() error { return l.renewCertificate(ctx, client) })
	g.Go(func() error { <-ctx.Done(); cancel(); return nil }) // whoever fails first ends the streams of the others
	return true, fenced(g.Wait())
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
	return l.checkTerm(s.welcome)
}

// checkTerm refuses a control plane that has been overtaken by another one.
func (l *Link) checkTerm(w *leasev1.Welcome) error {
	if string(w.GetLineage()) == l.lineage && w.GetTerm() < l.term {
		return fmt.Errorf("this control plane is of term %d, but term %d has been seen: it has been overtaken", w.GetTerm(), l.term)
	}
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

// send is the only goroutine that sends: confirmations, signals and heartbeats, as they fall due.
func (s *session) send(ctx context.Context) error {
	every := s.welcome.GetHeartbeatInterval().AsDuration()
	beat := time.NewTimer(jitter(every))
	defer beat.Stop()
	b := s.link.book
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.link.leave:
			err = s.stream.Send(&leasev1.SessionRequest{Message: &leasev1.SessionRequest_Leave{Leave: &leasev1.Leave{Reason: "stopping"}}})
			_ = s.stream.CloseSend()
			<-ctx.Done() // the control plane ends the session
			return err
		case <-s.applied.wake:
			err = s.stream.Send(s.ack())
		case <-b.signals.wake:
			if m := keySignals(b.signals.take()); m != nil {
				err = s.stream.Send(m)
			}
		case <-beat.C:
			if b.now()-s.lastRenewal() > 2*every+every/2 {
				return errors.New("the control plane has stopped answering heartbeats")
			}
			err = s.stream.Send(s.heartbeat(every))
			beat.Reset(jitter(every))
		}
		if err != nil {
			<-ctx.Done() // the receiver has the reason, and ends the context with it
			return ctx.Err()
		}
	}
}

func (s *session) ack() *leasev1.SessionRequest {
	s.applied.mu.Lock()
	refused := s.applied.refused
	s.applied.refused = nil
	s.applied.mu.Unlock()
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Ack{Ack: &leasev1.Ack{
		DeltaSeq: s.applied.delta.Load(), HealthSeq: s.applied.health.Load(), Rejected: refused,
	}}}
}

func (s *session) heartbeat(every time.Duration) *leasev1.SessionRequest {
	b := s.link.book
	s.beats.mu.Lock()
	s.beats.seq++
	seq := s.beats.seq
	s.beats.sent[seq] = b.now()
	s.beats.mu.Unlock()
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Heartbeat{Heartbeat: &leasev1.Heartbeat{
		HeartbeatSeq: seq,
		Status: &leasev1.NodeStatus{
			InFlight: uint32(b.InFlight()), KeysHeld: uint32(b.Held()),
			RequestsPerSecond:     float64(b.arrived.Swap(0)) / every.Seconds(),
			UnacknowledgedBatches: uint32(s.link.reporter.Unconfirmed()),
		},
	}}}
}

func (s *session) lastRenewal() time.Duration {
	s.beats.mu.Lock()
	defer s.beats.mu.Unlock()
	return s.beats.renewed
}

func keySignals(order []signal, what map[signal]*told) *leasev1.SessionRequest {
	if len(order) == 0 {
		return nil
	}
	list := make([]*leasev1.KeySignal, 0, len(order))
	for _, s := range order {
		t := what[s]
		k := &leasev1.KeySignal{
			KeyId: uint64(s.key), Generation: s.generation, Reason: leasev1.Reason(s.reason), Probe: s.probe,
			HttpStatus: uint32(max(t.status, 0)), Count: uint32(t.count),
		}
		if t.retryAfter > 0 {
			k.RetryAfter = durationOf(t.retryAfter)
		}
		list = append(list, k)
	}
	return &leasev1.SessionRequest{Message: &leasev1.SessionRequest_Signals{Signals: &leasev1.KeySignals{Signals: list}}}
}

// jitter spreads heartbeats by a tenth, so that a fleet that came up together does not beat together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*mrand.Float64())) //nolint:gosec // spreads load
}

// renewCertificate asks for the next certificate at half of this one's life, at once if that is past, and saves it; the next
// session uses it.
func (l *Link) renewCertificate(ctx context.Context, client leasev1.LeaseServiceClient) error {
	var atLeast time.Duration
	for {
		wait := max(l.id.renewAt().Sub(l.book.wall()), atLeast)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(wait, time.Hour)): // not all at once: the machine may be suspended
		}
		if l.book.wall().Before(l.id.renewAt()) {
			continue
		}
		atLeast = time.Minute
		next, err := l.nextIdentity(ctx, client)
		if err != nil {
			l.log.Warn("certificate not renewed, trying again", "error", l.explain(err), "ends", l.id.leaf.NotAfter)
			continue
		}
		l.id = next
		l.log.Info("certificate renewed", "ends", next.leaf.NotAfter)
	}
}

func (l *Link) nextIdentity(ctx context.Context, client leasev1.LeaseServiceClient) (*identity, error) {
	request, err := newRequest(l.id.key)
	if err != nil {
		return nil, err
	}
	resp, err := client.RenewCertificate(ctx, &leasev1.RenewCertificateRequest{CertificateRequest: request})
	if err != nil {
		return nil, err
	}
	next, err := newIdentity(resp, l.id.key)
	if err != nil {
		return nil, err
	}
	return next, next.save(l.cfg.DataDir)
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
