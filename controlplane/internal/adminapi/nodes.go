package adminapi

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

const (
	defaultJoinTTL  = 15 * time.Minute
	joinTokenPrefix = "join-"
)

// nodeService shows the fleet, lets nodes into it and puts them out.
type nodeService struct {
	adminv1.UnimplementedNodeServiceServer
	*API
}

func wireNode(v pool.NodeView) *adminv1.Node {
	return &adminv1.Node{
		Id: string(v.Record.ID), Region: v.Record.Region, Zone: v.Zone, Version: v.Version, State: v.State,
		LeasesHeld: int32(v.Held), RevisionLag: int32(v.Lag), InFlight: int32(v.InFlight), RequestsPerSecond: v.RequestsPerSecond,
		JoinTime: stamp(v.Record.JoinTime), ConnectedSince: stamp(v.ConnectedSince), LastSeenTime: stamp(v.LastSeen),
		LeaseExpireTime: stamp(v.LeaseUntil), Rejections: v.Rejections, Distrusted: v.Distrusted,
	}
}

// ListNodes lists all nodes by id.
func (s nodeService) ListNodes(context.Context, *adminv1.ListNodesRequest) (*adminv1.ListNodesResponse, error) {
	resp := &adminv1.ListNodesResponse{}
	for _, v := range s.pool.Nodes(s.now()) {
		resp.Nodes = append(resp.Nodes, wireNode(v))
	}
	return resp, nil
}

// GetNode answers one node.
func (s nodeService) GetNode(_ context.Context, req *adminv1.GetNodeRequest) (*adminv1.GetNodeResponse, error) {
	node, err := s.nodeNow(req.GetId())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetNodeResponse{Node: node}, nil
}

func (s nodeService) nodeNow(id string) (*adminv1.Node, error) {
	all := s.pool.Nodes(s.now())
	i := slices.IndexFunc(all, func(v pool.NodeView) bool { return string(v.Record.ID) == id })
	if i < 0 {
		return nil, noNode()
	}
	return wireNode(all[i]), nil
}

// CreateJoinToken makes a token that lets one node in, and answers it for the only time.
func (s nodeService) CreateJoinToken(ctx context.Context, req *adminv1.CreateJoinTokenRequest) (*adminv1.CreateJoinTokenResponse, error) {
	if req.GetRegion() != "" && !region.MatchString(req.GetRegion()) {
		return nil, invalid("region", "must be made of letters, digits, '.', '_' and '-', at most 63")
	}
	ttl := seconds(req.GetTtl())
	if ttl == 0 {
		ttl = defaultJoinTTL
	}
	if ttl < time.Second {
		return nil, invalid("ttl", "must be at least a second")
	}
	secret := joinTokenPrefix + rand.Text()
	t := store.JoinToken{Secret: pool.NewSecret(secret), Region: req.GetRegion(), ExpireTime: s.now().Add(ttl)}
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		t, err = tx.PutJoinToken(t)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateJoinTokenResponse{JoinToken: secret, ExpireTime: stamp(t.ExpireTime)}, nil
}
