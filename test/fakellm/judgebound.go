package fakellm

import (
	"fmt"
	"slices"
	"time"
)

// Bound is what some requests may use together; a zero is no bound.
type Bound struct {
	// Requests and Tokens, input and output, that may start within any Window.
	Requests, Tokens int
	// Window is how long; a minute if zero. What a node spaces by a minute may arrive a little closer: a test that judges a
	// fleet through sockets takes a little less than a minute.
	Window time.Duration
	// AtOnce is how many may be under way.
	AtOnce int
}

// OverBound finds the requests to a model that broke a bound of a group of them, wherever in time its window is laid: those of
// a key, of the keys of one account, or of a client's token, which a test tells by the ids it gives to its requests. The
// tokens of a request count from its start.
func OverBound(entries []Entry, who string, isOf func(Entry) bool, b Bound) []string {
	if b.Window == 0 {
		b.Window = time.Minute
	}
	var found []string
	var recent, running []Entry
	tokens := 0
	for _, e := range inOrder(entries) {
		if !isOf(e) || !costs(e.Path) {
			continue
		}
		recent, tokens = append(recent, e), tokens+e.tokens()
		for e.Start.Sub(recent[0].Start) >= b.Window {
			tokens -= recent[0].tokens()
			recent = recent[1:]
		}
		running = append(stillAt(running, e.Start), e)
		for _, over := range []struct {
			what       string
			used, most int
		}{{"requests", len(recent), b.Requests}, {"tokens", tokens, b.Tokens}, {"requests at once", len(running), b.AtOnce}} {
			if over.most > 0 && over.used > over.most {
				found = append(found, fmt.Sprintf("%s made it %d %s of %s, where %d are allowed", e.describe(), over.used, over.what, who, over.most))
			}
		}
	}
	return found
}

// OfKeys picks the requests with one of these keys.
func OfKeys(keys ...string) func(Entry) bool {
	return func(e Entry) bool { return slices.Contains(keys, e.Key) }
}

func (e Entry) tokens() int { return e.PromptTokens + e.CompletionTokens }

// stillAt answers those that have not ended by then.
func stillAt(running []Entry, at time.Time) []Entry {
	var still []Entry
	for _, r := range running {
		if r.End.IsZero() || r.End.After(at) {
			still = append(still, r)
		}
	}
	return still
}
