package fakellm

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestOverBound(t *testing.T) {
	const a, b = "sk-pretend-aaaa", "sk-pretend-bbbb"
	ofA, ofBoth := OfKeys(a), OfKeys(a, b)
	byR := func(e Entry) bool { return strings.HasPrefix(e.RequestID, "r") }
	costing := func(in, out int) func(*Entry) { return func(e *Entry) { e.PromptTokens, e.CompletionTokens = in, out } }
	type entries = []Entry
	for _, tt := range []struct {
		sentence string
		isOf     func(Entry) bool
		bound    Bound
		entries  entries
		want     int
	}{
		{"Two in a minute are fine", ofA, Bound{Requests: 2}, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, time.Minute, a, "")}, 0},
		{"Three within a minute are not", ofA, Bound{Requests: 2}, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, time.Minute-1, a, "")}, 1},
		{"Each one too many is found", ofA, Bound{Requests: 2}, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, 2, a, ""), at(4, 3, a, "")}, 2},
		{"A burst across a minute's turn is found", ofA, Bound{Requests: 2}, entries{at(1, 59*time.Second, a, ""), at(2, 60*time.Second, a, ""), at(3, 61*time.Second, a, "")}, 1},
		{"A shorter window forgives more", ofA, Bound{Requests: 2, Window: 50 * time.Second}, entries{at(1, 0, a, ""), at(2, 1, a, ""), at(3, 50*time.Second, a, "")}, 0},
		{"Other keys do not count", ofA, Bound{Requests: 1}, entries{at(1, 0, a, ""), at(2, 1, b, "")}, 0},
		{"Keys of one account count together", ofBoth, Bound{Requests: 1}, entries{at(1, 0, a, ""), at(2, 1, b, "")}, 1},
		{"A token is told by its requests", byR, Bound{Requests: 1}, entries{at(1, 0, a, "r1"), at(2, 1, b, "q1"), at(3, 2, b, "r2")}, 1},
		{"Lists of models do not count", ofA, Bound{Requests: 1}, entries{at(1, 0, a, ""), with(at(2, 1, a, ""), list)}, 0},
		{"Tokens up to the bound are fine", ofA, Bound{Tokens: 10}, entries{with(at(1, 0, a, ""), costing(3, 3)), with(at(2, 1, a, ""), costing(2, 2))}, 0},
		{"One token more is not", ofA, Bound{Tokens: 10}, entries{with(at(1, 0, a, ""), costing(3, 3)), with(at(2, 1, a, ""), costing(2, 3))}, 1},
		{"Tokens of a minute ago are gone", ofA, Bound{Tokens: 10}, entries{with(at(1, 0, a, ""), costing(9, 0)), with(at(2, time.Minute, a, ""), costing(9, 0))}, 0},
		{"One after the other is fine", ofA, Bound{AtOnce: 1}, entries{at(1, 0, a, ""), at(2, time.Second, a, "")}, 0},
		{"One before the other ends is not", ofA, Bound{AtOnce: 1}, entries{at(1, 0, a, ""), at(2, time.Second-1, a, "")}, 1},
		{"One beside a request that never ended is not", ofA, Bound{AtOnce: 1}, entries{with(at(1, 0, a, ""), running), at(2, time.Hour, a, "")}, 1},
		{"Two bounds are two violations", ofA, Bound{Requests: 1, AtOnce: 1}, entries{at(1, 0, a, ""), at(2, 1, a, "")}, 2},
		{"No bound is none", ofA, Bound{}, entries{with(at(1, 0, a, ""), running), with(at(2, 1, a, ""), costing(1e9, 1e9))}, 0},
		{"The order of a file does not matter", ofA, Bound{Requests: 1}, entries{at(2, time.Minute, a, ""), at(1, 0, a, "")}, 0},
	} {
		t.Run(tt.sentence, func(t *testing.T) {
			got := OverBound(tt.entries, "these", tt.isOf, tt.bound)
			if len(got) != tt.want {
				t.Errorf("%d violations, want %d: %v", len(got), tt.want, got)
			}
			for _, v := range got {
				if strings.Contains(v, a) || strings.Contains(v, b) {
					t.Errorf("a whole key in %q", v)
				}
			}
		})
	}
}

// Both judges of rates agree on whatever comes, and both find faults.
func TestOverBoundAgreesWithOverRate(t *testing.T) {
	found := 0
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var entries []Entry
		var now time.Duration
		for n := range 40 {
			now += time.Duration(rnd.Int64N(int64(20 * time.Second)))
			entries = append(entries, at(int64(n+1), now, []string{"a", "b"}[rnd.IntN(2)], ""))
		}
		most := 2 + rnd.IntN(4)
		one, other := OverRate(entries, "a", most), OverBound(entries, "a", OfKeys("a"), Bound{Requests: most})
		if len(one) != len(other) {
			t.Fatalf("seed %d: %d and %d violations", seed, len(one), len(other))
		}
		found += len(one)
		slices.Reverse(entries)
		if len(OverBound(entries, "a", OfKeys("a"), Bound{Requests: most})) != len(one) {
			t.Fatalf("seed %d: the order matters", seed)
		}
	}
	if found == 0 {
		t.Error("nothing was found in 200 stories: the test proves nothing")
	}
}
