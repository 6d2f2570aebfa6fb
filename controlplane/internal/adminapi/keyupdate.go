package adminapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/store"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// keyFields are what an operator may change of a key, and keyParts the field that is a message.
var (
	keyFields = slices.Concat(
		[]string{"label", "weight", "priority", "models", "regions", "expire_time", "group", "max_stale", "limits"}, keyLimits,
	)
	keyParts = map[string][]string{"limits": keyLimits}
)

// UpdateKey changes what the mask names.
func (s keyService) UpdateKey(ctx context.Context, req *adminv1.UpdateKeyRequest) (*adminv1.UpdateKeyResponse, error) {
	provider, err := providerOf(ctx, "")
	if err != nil {
		return nil, err
	}
	fields, err := changed(req.GetUpdateMask(), keyFields...)
	if err != nil {
		return nil, err
	}
	var k pool.Key
	var lost bool
	err = s.update(ctx, func(tx *store.Tx) (err error) {
		k, err = named{id: req.GetApiKey().GetId()}.find(tx, provider)
		if errors.Is(err, store.ErrNotFound) {
			return noKey("")
		}
		if err != nil {
			return err
		}
		if lost = outdated(req.GetApiKey().GetRevision(), k.Revision); lost {
			return nil
		}
		if err := applyKey(&k, req.GetApiKey(), fields); err != nil {
			return err
		}
		k, err = tx.PutKey(k)
		return err
	})
	if err != nil {
		return nil, err
	}
	if lost {
		return nil, changedSince(s.keyNow(k))
	}
	return &adminv1.UpdateKeyResponse{ApiKey: s.keyNow(k)}, nil
}

// applyKey sets the named fields and checks the key that comes of it. On an error, k is good for nothing.
func applyKey(k *pool.Key, to *adminv1.ApiKey, fields []string) error {
	for _, f := range withParts(fields, keyParts) {
		var err error
		switch f {
		case "label":
			k.Label = to.GetLabel()
		case "weight":
			k.Weight = int(to.GetWeight())
		case "priority":
			k.Priority = int(to.GetPriority())
		case "models":
			k.Models = slices.Clone(to.GetModels())
		case "regions":
			k.Regions = slices.Clone(to.GetRegions())
		case "expire_time":
			k.ExpireTime, err = expireTime(to.GetExpireTime())
		case "group":
			k.Group = to.GetGroup()
		case "max_stale":
			k.MaxStale, err = readMaxStale(to.GetMaxStale())
		default:
			err = setKeyLimit(&k.Limits, to.GetLimits(), f)
		}
		if err != nil {
			return err
		}
	}
	if r := checkKey(*k); r != nil {
		return r
	}
	return nil
}

// expireTime reads the end of a life; absent: it has none.
func expireTime(ts *timestamppb.Timestamp) (time.Time, error) {
	if ts == nil {
		return time.Time{}, nil
	}
	if !ts.IsValid() {
		return time.Time{}, invalid("expireTime", "is no time")
	}
	return ts.AsTime(), nil
}
