package fakellm

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A judge returns one sentence per violation, and nothing if all is well. Unless
// its comment says otherwise, it judges every entry it is given: pass it
// Attempts(entries) to leave out probes and model lists. Entries may come in any
// order. Keys are shown by their last characters only.

// Attempts are the requests to a model, by any API, that were no probes: what
// clients caused. A count of tokens is free and none.
func Attempts(entries []Entry) []Entry {
	var kept []Entry
	for _, e := range inOrder(entries) {
		if costs(e.Path) && !e.Probe {
			kept = append(kept, e)
		}
	}
	return kept
}

// UsedAfter finds uses of a key that started later than t. One at t is allowed.
func UsedAfter(entries []Entry, key string, t time.Time) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Key == key && e.Start.After(t) {
			found = append(found, fmt.Sprintf("%s started %v too late", e.describe(), e.Start.Sub(t)))
		}
	}
	return found
}

// UsedBetween finds uses of a key that started after from and before to. One at
// either end is allowed: the request that a cool-down began with, and the first
// that may follow it.
func UsedBetween(entries []Entry, key string, from, to time.Time) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Key == key && e.Start.After(from) && e.Start.Before(to) {
			found = append(found, fmt.Sprintf("%s started %v too early", e.describe(), to.Sub(e.Start)))
		}
	}
	return found
}

// UnexpectedKeys finds uses of any key but the allowed ones. No key at all is
// unexpected too, unless "" is allowed.
func UnexpectedKeys(entries []Entry, allowed ...string) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if !slices.Contains(allowed, e.Key) {
			found = append(found, e.describe()+" used a key that must not be seen here")
		}
	}
	return found
}

// Violations lists what the provider noticed by itself: limits exceeded, and two
// different credentials in one request.
func Violations(entries []Entry) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Violation != "" {
			found = append(found, e.describe()+": "+e.Violation)
		}
	}
	return found
}

// InFlight finds requests that have not ended.
func InFlight(entries []Entry) []string {
	var found []string
	for _, e := range inOrder(entries) {
		if e.Outcome == "" {
			found = append(found, e.describe()+" is still under way")
		}
	}
	return found
}

func inOrder(entries []Entry) []Entry {
	return slices.SortedStableFunc(slices.Values(entries), func(a, b Entry) int {
		return cmp.Compare(a.Seq, b.Seq)
	})
}

// describe names an entry in a violation without showing its key.
func (e Entry) describe() string {
	return fmt.Sprintf("seq %d (key %s, request %q, %s)", e.Seq, tail(e.Key), e.RequestID, e.Path)
}
