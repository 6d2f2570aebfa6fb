package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

// entry is what the upstream saw of a request.
type entry struct {
	Status  int
	Outcome string
	Body    []byte
}

func ledger(ctx context.Context, scene string) ([]entry, error) {
	where := os.Getenv("POOL_UPSTREAM") + "/ledger?model=" + url.QueryEscape(model(scene))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var entries []entry
	return entries, json.NewDecoder(resp.Body).Decode(&entries)
}

// last waits until there is a latest entry of a scene that is what is asked for.
func last(ctx context.Context, scene string, is func(entry) bool) (entry, error) {
	for range 200 {
		entries, err := ledger(ctx, scene)
		if err != nil {
			return entry{}, err
		}
		if n := len(entries); n > 0 && is(entries[n-1]) {
			return entries[n-1], nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	return entry{}, errors.New("waited in vain for the upstream: " + scene)
}

// settled fails unless the latest request of a scene ends so.
func settled(ctx context.Context, scene, outcome string) error {
	e, err := last(ctx, scene, func(e entry) bool { return e.Outcome != "" })
	if err == nil && e.Outcome != outcome {
		err = fmt.Errorf("the upstream saw it %s", e.Outcome)
	}
	return err
}

// tried fails unless these were the outcomes of a scene.
func tried(ctx context.Context, scene string, outcomes ...string) error {
	entries, err := ledger(ctx, scene)
	if err != nil {
		return err
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Outcome)
	}
	if fmt.Sprint(got) != fmt.Sprint(outcomes) {
		return fmt.Errorf("the upstream saw %q, not %q", got, outcomes)
	}
	return nil
}
