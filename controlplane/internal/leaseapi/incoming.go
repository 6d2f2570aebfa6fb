package leaseapi

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/pool"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// incoming takes what a node says in its session, until the stream ends.
type incoming struct {
	api      *API
	node     pool.NodeID
	session  *pool.Session
	renewals chan *leasev1.LeaseRenewal    // for the sender
	done     chan error                    // why receiving ended; io.EOF: the node closed its side
	left     atomic.Pointer[leasev1.Leave] // it said so; nil: it did not
}

func (in *incoming) receive(stream leasev1.LeaseService_SessionServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		now := in.api.cfg.Now()
		switch m := m.GetMessage().(type) {
		case *leasev1.SessionRequest_Heartbeat:
			ttl := in.api.cfg.Pool.Renew(now, in.session, nodeStatus(m.Heartbeat.GetStatus()))
			if evicted, _ := in.session.Evicted(); evicted {
				continue // it is about to hear of that
			}
			if ttl == 0 {
				return endOf(in.session)
			}
			renewal := &leasev1.LeaseRenewal{
				HeartbeatSeq: m.Heartbeat.GetHeartbeatSeq(), Term: in.api.cfg.Store.Term(), LeaseTtl: durationpb.New(ttl),
			}
			select {
			case in.renewals <- renewal:
			default: // the node does not read; it may not have a lease then
			}
		case *leasev1.SessionRequest_Ack:
			var refused []string
			for _, r := range m.Ack.GetRejected() {
				refused = append(refused, rejection(r))
				in.api.cfg.Logger.Error("a node refused what it was sent", "node", string(in.node), "what", rejection(r))
			}
			in.session.Holds(now, m.Ack.GetGrantSeq(), holdings(m.Ack.GetHoldings()))
			in.session.Ack(now, m.Ack.GetDeltaSeq(), m.Ack.GetHealthSeq(), m.Ack.GetCommandSeq(), refused)
		case *leasev1.SessionRequest_Demand:
			in.session.Demand(now, wants(m.Demand))
		case *leasev1.SessionRequest_Signals:
			for _, s := range m.Signals.GetSignals() {
				in.api.cfg.Pool.Signal(now, in.node, signal(s))
			}
		case *leasev1.SessionRequest_Leave:
			in.left.Store(m.Leave)
		case *leasev1.SessionRequest_Hello:
			return status.Error(codes.InvalidArgument, "a session has one Hello")
		}
	}
}

func nodeStatus(s *leasev1.NodeStatus) pool.NodeStatus {
	status := pool.NodeStatus{InFlight: int(s.GetInFlight()), RequestsPerSecond: s.GetRequestsPerSecond(), Draining: s.GetDraining()}
	for _, c := range s.GetCaches() {
		status.Caches = append(status.Caches, pool.CacheStatus{
			Provider: pool.ProviderID(c.GetProviderId()), Lists: uint64(c.GetModelLists()), Bytes: c.GetModelListBytes(),
			Hits: c.GetModelListHits(), Misses: c.GetModelListMisses(),
			Answers: c.GetAnswers(), AnswerBytes: c.GetAnswerBytes(), AnswerHits: c.GetAnswerHits(), AnswerMisses: c.GetAnswerMisses(),
		})
	}
	return status
}

func signal(s *leasev1.KeySignal) pool.Signal {
	return pool.Signal{
		Key: pool.KeyID(s.GetKeyId()), Generation: s.GetGeneration(), Reason: reason(s.GetReason()),
		RetryAfter: s.GetRetryAfter().AsDuration(), Count: int(min(s.GetCount(), 1000)), Probe: s.GetProbe(),
		HTTPStatus: int(min(s.GetHttpStatus(), 999)),
	}
}
