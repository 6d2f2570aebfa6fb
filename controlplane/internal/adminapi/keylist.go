package adminapi

import (
	"context"
	"slices"
	"strings"

	"ollama-api-pool/controlplane/internal/pool"
	adminv1 "ollama-api-pool/gen/pool/admin/v1"
)

// reasons are what `reason` can be in a filter.
var reasons = []string{
	"auth_rejected", "quota_exhausted", "rate_limited", "server_error", "timeout", "broken_answer", "admin", "expired",
}

// keyFilter selects keys.
type keyFilter struct {
	provider                         pool.ProviderID
	status, reason, category, search string
}

func (f keyFilter) digest(list string) [8]byte {
	return filterDigest(list, string(f.provider), f.status, f.reason, f.category, f.search)
}

func (a *API) matches(f keyFilter, v pool.KeyView) bool {
	if f.provider != "" && v.Key.Provider != f.provider {
		return false
	}
	if f.category != "" && v.Key.Category != f.category {
		return false
	}
	if f.status != "" || f.reason != "" {
		status, reason, _ := pool.StatusAt(v.Key, v.Health, a.now())
		if f.status != "" && string(status) != f.status || f.reason != "" && reason != f.reason {
			return false
		}
	}
	return f.search == "" || found(v.Key, f.search)
}

// found looks for the text in the id, the label (whatever its case) and the last four characters.
func found(k pool.Key, text string) bool {
	_, lastFour, _ := strings.Cut(k.Display, "…")
	return strings.Contains(k.ID.String(), text) ||
		strings.Contains(strings.ToLower(k.Label), strings.ToLower(text)) ||
		strings.Contains(lastFour, text)
}

// keyPage walks all keys for their number, and keeps one page. The keys of the page are read anew, for their holders.
func (a *API) keyPage(f keyFilter, list string, size int, token string) (page []pool.KeyView, next string, total int32, err error) {
	var after uint64
	if err := readPage(token, f.digest(list), &after); err != nil {
		return nil, "", 0, err
	}
	more := false
	a.pool.EachKey(0, func(v pool.KeyView) bool {
		if !a.matches(f, v) {
			return true
		}
		total++
		switch {
		case uint64(v.Key.ID) <= after:
		case len(page) < size:
			page = append(page, v)
		default:
			more = true
		}
		return true
	})
	if more {
		next = writePage(f.digest(list), uint64(page[len(page)-1].Key.ID))
	}
	for i, v := range page {
		if now, ok := a.pool.KeyView(v.Key.ID); ok {
			page[i] = now
		}
	}
	return page, next, total, nil
}

// ListKeys lists keys, page by page.
func (s keyService) ListKeys(ctx context.Context, req *adminv1.ListKeysRequest) (*adminv1.ListKeysResponse, error) {
	provider, err := s.knownProvider(ctx, req.GetProvider())
	if err != nil {
		return nil, err
	}
	if req.GetReason() != "" && !slices.Contains(reasons, req.GetReason()) {
		return nil, invalid("reason", "must be one of "+strings.Join(reasons, ", "))
	}
	f := keyFilter{
		provider: provider, status: req.GetStatus(), reason: req.GetReason(), category: req.GetCategory(), search: req.GetSearch(),
	}
	page, next, total, err := s.keyPage(f, "keys", pageSize(req.GetPageSize()), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &adminv1.ListKeysResponse{NextPageToken: next, Total: total}
	for _, v := range page {
		resp.ApiKeys = append(resp.ApiKeys, s.wireKey(v))
	}
	return resp, nil
}

// knownProvider answers the provider that a request names, which must exist; empty: none is named.
func (a *API) knownProvider(ctx context.Context, body string) (pool.ProviderID, error) {
	id, err := providerOf(ctx, body)
	if err != nil || id == "" {
		return "", err
	}
	if _, ok := a.pool.Provider(id); !ok {
		return "", noProvider("provider")
	}
	return id, nil
}
