package adminapi

import (
	"context"
	"errors"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// DrainNode has a node take no new requests. The answer waits a little for it to hear of that; a node that is away hears of it
// when it is back.
func (s nodeService) DrainNode(ctx context.Context, req *adminv1.DrainNodeRequest) (*adminv1.DrainNodeResponse, error) {
	node, err := s.setDrained(ctx, req.GetId(), true)
	if err != nil {
		return nil, err
	}
	return &adminv1.DrainNodeResponse{Node: node}, nil
}

// ResumeNode ends a drain.
func (s nodeService) ResumeNode(ctx context.Context, req *adminv1.ResumeNodeRequest) (*adminv1.ResumeNodeResponse, error) {
	node, err := s.setDrained(ctx, req.GetId(), false)
	if err != nil {
		return nil, err
	}
	return &adminv1.ResumeNodeResponse{Node: node}, nil
}

func (s nodeService) setDrained(ctx context.Context, id string, drained bool) (*adminv1.Node, error) {
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.changeNode(ctx, id, func(n *pool.NodeRecord) error {
		if !n.EvictTime.IsZero() {
			return evictedNode()
		}
		n.Drained = drained
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.receipt(ctx, min(wait, grantWait), func(region string) bool { return region == n.Region })
	return s.nodeNow(id)
}

// EvictNode puts a node out for good, and says whether it has stopped. Who evicts it again is told how that stands now.
func (s nodeService) EvictNode(ctx context.Context, req *adminv1.EvictNodeRequest) (*adminv1.EvictNodeResponse, error) {
	wait, err := waitOf(ctx)
	if err != nil {
		return nil, err
	}
	n, err := s.changeNode(ctx, req.GetId(), func(n *pool.NodeRecord) error {
		if n.EvictTime.IsZero() {
			n.EvictTime = s.now()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	receipt := s.evictReceipt(ctx, wait, n.ID)
	node, err := s.nodeNow(req.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.EvictNodeResponse{Node: node, Receipt: receipt}, nil
}

// evictReceipt waits until the node has stopped, but not longer than asked. A node that could not have served any more when it
// was evicted has nothing to confirm.
func (a *API) evictReceipt(ctx context.Context, wait time.Duration, id pool.NodeID) *adminv1.RevocationReceipt {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r := a.pool.EvictReceipt(ctx, a.now(), id)
	if len(r.Pending)+len(r.Unreachable) == 0 {
		r.Acknowledged = []pool.NodeID{id}
	}
	return wireReceipt(r)
}

// changeNode changes what is remembered of a node, and answers it; if nothing changes, nothing is written.
func (a *API) changeNode(ctx context.Context, id string, change func(*pool.NodeRecord) error) (pool.NodeRecord, error) {
	var n pool.NodeRecord
	err := a.update(ctx, func(tx *store.Tx) (err error) {
		n, err = tx.Node(pool.NodeID(id))
		if errors.Is(err, store.ErrNotFound) {
			return noNode()
		}
		if err != nil {
			return err
		}
		before := n
		if err := change(&n); err != nil {
			return err
		}
		if n.Drained == before.Drained && n.EvictTime.Equal(before.EvictTime) {
			return nil
		}
		return tx.PutNode(n)
	})
	return n, err
}
