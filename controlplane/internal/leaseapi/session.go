package leaseapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/ca"
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

var (
	// errFenced ends the session of an older process of a node. The node takes it as its end.
	errFenced = status.Error(codes.Aborted, "a newer process runs under this node's name")
	// errReplaced ends a session that was half open when the same process opened its next one.
	errReplaced = status.Error(codes.Unavailable, "this process has a newer session")
)

// endOf answers why a fenced session is over.
func endOf(s *pool.Session) error {
	if evicted, _ := s.Evicted(); evicted {
		return errEvicted
	}
	if s.Overtaken() {
		return errFenced
	}
	return errReplaced
}

// Session lives through one session of a node. One goroutine, this one, sends; another receives.
func (a *API) Session(stream leasev1.LeaseService_SessionServer) error {
	ctx, name := stream.Context(), caller(stream.Context())
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "a session begins with a Hello")
	}
	if err := a.drain.enter(); err != nil {
		return err
	}
	defer a.drain.leave()
	epoch, err := a.register(ctx, name, hello)
	if err != nil {
		return err
	}
	now := a.cfg.Now()
	node := pool.NodeID(name.Node)
	if err := a.noticeRestore(ctx, node, hello); err != nil {
		return err
	}
	session := a.cfg.Pool.Attach(now, pool.Hello{
		Node: node, Zone: hello.GetZone(), Version: hello.GetVersion(), Epoch: epoch,
		Holds: holdings(hello.GetHoldings()),
	})
	switch {
	case session == nil && a.cfg.Pool.Evicted(node):
		return errEvicted
	case session == nil: // another process has registered since
		return errFenced
	}
	left := false
	var spent []pool.Holding
	defer func() { a.cfg.Pool.Detach(a.cfg.Now(), session, left, spent) }()
	for _, open := range hello.GetOpenKeys() {
		a.cfg.Pool.Signal(now, node, openSignal(open))
	}
	log := a.cfg.Logger.With("node", name.Node, "region", name.Region, "epoch", epoch)
	log.Info("session opened", "version", hello.GetVersion(), "open_keys", len(hello.GetOpenKeys()))
	if err := stream.Send(a.welcome(node, epoch)); err != nil {
		return err
	}

	in := &incoming{api: a, node: node, session: session, renewals: make(chan *leasev1.LeaseRenewal, 8), done: make(chan error, 1)}
	go func() { in.done <- in.receive(stream) }()
	err = a.send(stream, session, in)
	if leave := in.left.Load(); leave != nil {
		left, spent = true, holdings(leave.GetSpent())
	}
	if left {
		err = a.forget(node, epoch)
	} else if _, wiped := session.Evicted(); wiped {
		if unsaved := a.forget(node, epoch); unsaved != nil { // then receipts say that it may go on
			log.Error("not saved that an evicted node has stopped", "error", unsaved.Error())
		}
	}
	log.Info("session ended", "left", left, "reason", reasonOf(err))
	return err
}

// register answers the epoch of this process of the node: a new process gets a new one, durably, before it is welcomed.
// A process that was overtaken does not: it would put out its successor.
func (a *API) register(ctx context.Context, name ca.Name, hello *leasev1.Hello) (uint64, error) {
	instance := hello.GetInstanceId()
	if len(instance) != 16 {
		return 0, status.Error(codes.InvalidArgument, "instance_id must have 16 bytes")
	}
	var epoch uint64
	_, err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(pool.NodeID(name.Node))
		if err != nil {
			return err
		}
		if !n.EvictTime.IsZero() {
			return errEvicted
		}
		epoch = n.Epoch
		if bytes.Equal(n.InstanceID, instance) && n.LeaveTime.IsZero() {
			return nil
		}
		if !bytes.Equal(n.InstanceID, instance) {
			if had := hello.GetNodeEpoch(); had != 0 && had < n.Epoch {
				return errFenced
			}
			n.Epoch = max(n.Epoch, hello.GetNodeEpoch()) + 1 // a restored backup may know of fewer
		}
		epoch, n.InstanceID, n.LeaveTime = n.Epoch, instance, time.Time{}
		return tx.PutNode(n)
	})
	switch {
	case errors.Is(err, errFenced):
		a.cfg.Logger.Warn("session refused: a newer process runs under the node's name", "node", name.Node, "had", hello.GetNodeEpoch())
		return 0, errFenced
	case errors.Is(err, errEvicted):
		return 0, errEvicted
	case err != nil:
		return 0, status.Error(codes.Unavailable, "the control plane cannot register the node now")
	}
	return epoch, nil
}

// forget notes durably that the node left in order: it holds nothing any more, unless a newer process of it has come.
func (a *API) forget(node pool.NodeID, epoch uint64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := a.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		n, err := tx.Node(node)
		if err != nil || n.Epoch != epoch {
			return err
		}
		n.LeaveTime = a.cfg.Now()
		return tx.PutNode(n)
	})
	return err
}

func (a *API) welcome(node pool.NodeID, epoch uint64) *leasev1.SessionResponse {
	lineage := a.cfg.Store.Lineage()
	return &leasev1.SessionResponse{Message: &leasev1.SessionResponse_Welcome{Welcome: &leasev1.Welcome{
		NodeEpoch: epoch, Term: a.cfg.Store.Term(), Lineage: lineage[:],
		LeaseTtl: durationpb.New(a.cfg.leaseTTL()), Grace: durationpb.New(a.cfg.grace()),
		HeartbeatInterval: durationpb.New(a.cfg.heartbeat()), ReportInterval: durationpb.New(a.cfg.report()),
		ReconnectSpread: durationpb.New(a.cfg.spread()),
		LastOutcomeSeq:  a.cfg.Stats.LastSeq(node, epoch), OutcomeWindow: outcomeWindow,
	}}}
}

// send drains what the node must hear whenever the pool wakes it; renewals go first.
func (a *API) send(stream leasev1.LeaseService_SessionServer, session *pool.Session, in *incoming) error {
	drained := a.drain.begun
	var evicted <-chan time.Time
	for {
		var err error
		select {
		case r := <-in.renewals:
			err = stream.Send(&leasev1.SessionResponse{Message: &leasev1.SessionResponse_Renewal{Renewal: r}})
		case err := <-in.done:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-session.Fenced():
			return endOf(session)
		case <-drained:
			drained = nil
			err = stream.Send(a.notice())
		case <-a.drain.over:
			return errStopping
		case <-evicted:
			return errEvicted
		case <-session.Wake():
			err = a.tell(stream, session, in)
			if put, _ := session.Evicted(); put && evicted == nil {
				evicted = time.After(evictWait)
			}
		}
		if err != nil {
			return err
		}
	}
}

// tell sends until there is nothing left to say, letting renewals through in between.
func (a *API) tell(stream leasev1.LeaseService_SessionServer, session *pool.Session, in *incoming) error {
	for {
		select {
		case r := <-in.renewals:
			if err := stream.Send(&leasev1.SessionResponse{Message: &leasev1.SessionResponse_Renewal{Renewal: r}}); err != nil {
				return err
			}
		default:
		}
		next := session.Next(a.cfg.Now())
		if next == nil {
			return nil
		}
		if err := stream.Send(a.message(next)); err != nil {
			return err
		}
	}
}

func openSignal(k *leasev1.KeyHealth) pool.Signal {
	s := pool.Signal{Key: pool.KeyID(k.GetKeyId()), Generation: k.GetGeneration(), Reason: reason(k.GetReason())}
	if k.GetOpenFor() != nil {
		s.RetryAfter = k.GetOpenFor().AsDuration()
	}
	return s
}

// reason reads the wire's; the numbers are the same, and one this version does not know says nothing.
func reason(r leasev1.Reason) pool.Reason {
	if r < 0 || r > leasev1.Reason_REASON_BROKEN_ANSWER {
		return pool.NoReason
	}
	return pool.Reason(r)
}

func reasonOf(err error) string {
	if err == nil {
		return "closed by the node"
	}
	return status.Convert(err).Message()
}

func rejection(r *leasev1.Rejection) string {
	what := r.GetProviderId()
	switch r.GetKind() {
	case leasev1.Kind_KIND_KEY:
		what = pool.KeyID(r.GetId()).String()
	case leasev1.Kind_KIND_TOKEN:
		what = pool.TokenID(r.GetId()).String()
	default:
	}
	return fmt.Sprintf("%s at revision %d: %.200s", what, r.GetRevision(), r.GetReason())
}
