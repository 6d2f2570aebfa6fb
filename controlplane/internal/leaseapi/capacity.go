package leaseapi

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"ollama-api-pool/controlplane/internal/pool"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// longestAsk is how long a node is kept waiting for capacity: its request waits no longer than a quarter of a second in all.
const longestAsk = 220 * time.Millisecond

// AcquirePermit gives the node more of what a request of its clients needs, if there is any to be had now.
func (a *API) AcquirePermit(ctx context.Context, req *leasev1.AcquirePermitRequest) (*leasev1.AcquirePermitResponse, error) {
	session := a.cfg.Pool.SessionOf(pool.NodeID(caller(ctx).Node), req.GetNodeEpoch())
	if session == nil {
		return nil, status.Error(codes.FailedPrecondition, "this process of the node has no session")
	}
	ask := pool.Ask{Tokens: req.GetTokens()}
	switch req.GetKind() {
	case leasev1.Kind_KIND_TOKEN:
		ask.Token = pool.TokenID(req.GetId())
	case leasev1.Kind_KIND_PROVIDER:
		ask.Provider = pool.ProviderID(req.GetProviderId())
	default:
		return nil, status.Error(codes.InvalidArgument, "capacity is asked for by token or by provider")
	}
	ctx, cancel := context.WithTimeout(ctx, longestAsk)
	defer cancel()
	seq, wait := session.Acquire(ctx, a.cfg.Now(), ask)
	resp := &leasev1.AcquirePermitResponse{GrantSeq: seq}
	if wait > 0 {
		resp.RetryAfter = durationpb.New(wait)
	}
	return resp, nil
}

func (a *API) grants(u *pool.GrantUpdate) *leasev1.GrantUpdate {
	w := &leasev1.GrantUpdate{Term: a.cfg.Store.Term(), GrantSeq: u.Seq}
	for _, g := range u.Grants {
		w.Grants = append(w.Grants, &leasev1.Grant{
			Kind: leasev1.Kind(g.ID.Kind), Id: g.ID.ID, Dimension: leasev1.Dimension(g.ID.Dimension),
			Amount: g.Amount, Floor: g.Floor, Window: g.Window,
		})
	}
	return w
}

func holdings(list []*leasev1.Holding) []pool.Holding {
	held := make([]pool.Holding, 0, len(list))
	for _, h := range list {
		held = append(held, pool.Holding{ID: limitID(h.GetKind(), h.GetId(), h.GetDimension()), Amount: h.GetAmount(), Window: h.GetWindow()})
	}
	return held
}

func limitID(k leasev1.Kind, id uint64, d leasev1.Dimension) pool.LimitID {
	return pool.LimitID{Kind: pool.LimitKind(k), ID: id, Dimension: pool.Dimension(d)}
}

func wants(d *leasev1.Demand) []pool.Want {
	list := make([]pool.Want, 0, len(d.GetWants()))
	for _, w := range d.GetWants() {
		one := pool.Want{
			Kind: pool.LimitKind(w.GetKind()), ID: w.GetId(), Provider: pool.ProviderID(w.GetProviderId()),
			Requests: float64(w.GetRequestsPerMinute()), Tokens: float64(w.GetTokensPerMinute()),
		}
		if w.GetKind() == leasev1.Kind_KIND_PROVIDER {
			one.Kind = 0
		}
		for _, s := range w.GetShort() {
			one.Short = append(one.Short, pool.Dimension(s))
		}
		list = append(list, one)
	}
	return list
}
