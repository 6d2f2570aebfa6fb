package main

import (
	"slices"
	"testing"
	"time"
)

func TestThePercentileIsATimeThatWasMeasured(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i)) // 100 … 1: nobody has sorted them
	}
	for _, tt := range []struct {
		sentence string
		times    []time.Duration
		p        float64
		want     time.Duration
	}{
		{"Half of a hundred do not exceed the 50th", hundred, 50, 50},
		{"99 of a hundred do not exceed the 99th", hundred, 99, 99},
		{"All do not exceed the largest", hundred, 100, 100},
		{"The lowest is the smallest one", hundred, 0, 1},
		{"Of two the smaller is half", []time.Duration{7, 3}, 50, 3},
		{"Of two the larger is the p99", []time.Duration{7, 3}, 99, 7},
		{"Of three the middle one is half", []time.Duration{9, 1, 5}, 50, 5},
		{"One is all there is", []time.Duration{4}, 99, 4},
		{"Of none there is none", nil, 50, 0},
	} {
		before := slices.Clone(tt.times)
		if got := percentile(tt.times, tt.p); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.sentence, got, tt.want)
		}
		if !slices.Equal(before, tt.times) {
			t.Errorf("%s: the times were put into another order", tt.sentence)
		}
	}
}

func TestTheMedianAndItsSpread(t *testing.T) {
	for _, tt := range []struct {
		sentence string
		values   []float64
		want     spread
	}{
		{"Of three it is the middle one", []float64{9, 1, 5}, spread{5, 1, 9}},
		{"Of four it is the mean of the two in the middle", []float64{8, 1, 4, 2}, spread{3, 1, 8}},
		{"One is all three", []float64{2.5}, spread{2.5, 2.5, 2.5}},
	} {
		if got := spreadOf(tt.values); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.sentence, got, tt.want)
		}
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	// The second round was twice as slow for all: the ratio does not see it.
	if got := ratios([]float64{3, 6, 4.5}, []float64{2, 4, 3}); !slices.Equal(got, []float64{1.5, 1.5, 1.5}) {
		t.Errorf("got %v", got)
	}
	if got := ratios([]float64{3, 6}, []float64{0, 4}); !slices.Equal(got, []float64{1.5}) {
		t.Errorf("a round in which the other used nothing tells nothing: got %v", got)
	}
	if got := ratios([]float64{3}, nil); got != nil {
		t.Errorf("without another there is no ratio: got %v", got)
	}
}
