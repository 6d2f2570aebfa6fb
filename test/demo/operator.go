package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// operator calls the admin API, as a person would with curl.
type operator struct {
	base, token string
	client      *http.Client
}

// call fails unless the answer is a 200. The words of a refusal are left to the control plane's log.
func (o *operator) call(ctx context.Context, method, path string, body, into any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		data = nil
	}
	req, err := http.NewRequestWithContext(ctx, method, o.base+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

type object map[string]any

// pointAt has the provider be the pretend upstream from now on.
func (o *operator) pointAt(ctx context.Context, url string) error {
	return o.call(ctx, http.MethodPatch, "/admin/providers/ollama", object{
		"baseUrl": url, "allowPrivateAddresses": true,
		"timeouts": object{"firstByte": firstByte.Seconds()},
		"failover": object{"ejectFor": ejectFor.Seconds()},
	}, nil)
}

// add makes a key known to the control plane.
func (o *operator) add(ctx context.Context, k *scripted) error {
	var made struct{ APIKey struct{ ID string } }
	err := o.call(ctx, http.MethodPost, "/admin/api-keys", object{"apiKey": k.secret, "label": k.label}, &made)
	if err == nil {
		k.id = made.APIKey.ID
	}
	return err
}

// clientToken makes a token and leaves it in a file too, for whoever wants to send a request of their own.
func (o *operator) clientToken(ctx context.Context, dir string) (string, error) {
	var made struct{ Token string }
	if err := o.call(ctx, http.MethodPost, "/admin/tokens", object{"name": "demo"}, &made); err != nil {
		return "", err
	}
	return made.Token, os.WriteFile(filepath.Join(dir, "client-token"), []byte(made.Token+"\n"), 0o600)
}

// keyState is a key as the control plane sees it.
type keyState struct {
	ID, Status, Reason string
	Until              time.Time
}

func (o *operator) keys(ctx context.Context) ([]keyState, error) {
	var list struct{ APIKeys []keyState }
	err := o.call(ctx, http.MethodGet, "/admin/api-keys?pageSize=1000", nil, &list)
	return list.APIKeys, err
}

// attempts answers how many the control plane has counted.
func (o *operator) attempts(ctx context.Context) (int, error) {
	var stats struct{ UpstreamAttempts float64 }
	err := o.call(ctx, http.MethodGet, "/admin/stats", nil, &stats)
	return int(stats.UpstreamAttempts), err
}
