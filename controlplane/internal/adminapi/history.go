package adminapi

import (
	"context"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// GetKeyHistory answers what happened with one key.
func (s statsService) GetKeyHistory(ctx context.Context, req *adminv1.GetKeyHistoryRequest) (*adminv1.GetKeyHistoryResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	v, ok := s.keyNamed(req.GetId(), provider)
	if !ok {
		return nil, noKey("")
	}
	events, err := s.stats.KeyEvents(v.Key.ID)
	if err != nil {
		return nil, err
	}
	resp := &adminv1.GetKeyHistoryResponse{}
	for _, e := range events {
		resp.Events = append(resp.Events, wireEvent(e))
	}
	for _, h := range s.stats.KeyHours(v.Key.ID, s.now()) {
		resp.Hours = append(resp.Hours, wireKeyHour(h))
	}
	return resp, nil
}

func wireEvent(e pool.Event) *adminv1.KeyEvent {
	kind := "failure"
	switch {
	case e.Status != "":
		kind = "status"
	case e.Probe:
		kind = "probe"
	}
	return &adminv1.KeyEvent{
		Time: stamp(e.Time), Kind: kind, Node: string(e.Node), Reason: e.Reason.String(), HttpStatus: int32(e.HTTPStatus),
		Count: int32(e.Count), Status: string(e.Status), Until: stamp(e.Until),
	}
}
