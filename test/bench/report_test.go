package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// threeRounds is a run whose second round was twice as slow.
func threeRounds(o options) (*bench, []point, results) {
	all := results{}
	for _, slow := range []float64{1, 2, 1} {
		all.add("saturated", direct, figures{"rate": 50_000 / slow, "load_cores": 0.9})
		all.add("saturated", hand, figures{"others_cores": slow / 2, "cpu": 0.5 * slow, "rate": 20_000 / slow})
		all.add("saturated", poolName(1000), figures{"cpu": 0.6 * slow, "rate": 16_000 / slow})
		all.add("rate2000", direct, figures{"p50": 0.2 * slow, "p99": 1, "load_cores": 0.1})
		all.add("rate2000", poolName(1000), figures{"cpu": 1.5, "p50": 0.25 * slow, "p99": 3, "load_cores": 0.4, "others_cores": 0.05})
		all.add("rest", poolName(0), figures{"rss": 20})
		all.add("rest", poolName(1000), figures{"rss": 21})
	}
	return &bench{options: o, dir: "", leftOut: []string{"nginx: it is not here"}}, o.all(), all
}

func TestTheReportSaysWhatTheRoundsSaid(t *testing.T) {
	o := options{rounds: 3, lasts: time.Second, conns: 64, keys: []int{1000}, pool: 1000, bin: t.TempDir()}
	b, points, all := threeRounds(o)
	r := b.report(t.Context(), points, all)
	for _, tt := range []struct {
		sentence, point, subject, metric string
		rounds                           []float64
		ratio                            *spread
	}{
		{"Ratios do not see a slow round", "saturated", poolName(1000), "cpu", []float64{0.6, 1.2, 0.6}, &spread{1.2, 1.2, 1.2}},
		{"The bare proxy is one of itself", "saturated", hand, "cpu", []float64{0.5, 1, 0.5}, &spread{1, 1, 1}},
		{"What is added is counted round by round", "rate2000", poolName(1000), "p50_added", []float64{0.05, 0.1, 0.05}, nil},
		{"Keys cost what a pool without has less", "rest", poolName(1000), "key", []float64{1048.576, 1048.576, 1048.576}, nil},
	} {
		got, has := figureIn(r, tt.point, tt.subject, tt.metric)
		if !has || !near(got.Rounds, tt.rounds) {
			t.Errorf("%s: got %v, want %v", tt.sentence, got.Rounds, tt.rounds)
		}
		if (got.Ratio == nil) != (tt.ratio == nil) || tt.ratio != nil && !near([]float64{got.Ratio.Median, got.Ratio.Max}, []float64{tt.ratio.Median, tt.ratio.Max}) {
			t.Errorf("%s: the ratio is %v, want %v", tt.sentence, got.Ratio, tt.ratio)
		}
	}
	if _, has := figureIn(r, "rate2000", direct, "p50_added"); has {
		t.Error("the upstream adds something to itself")
	}
	if _, has := figureIn(r, "rest", poolName(0), "key"); has {
		t.Error("no key costs something")
	}
	want := []string{ // only where the load should have been light it is warned of, and of strangers only where they were busy
		"saturated: other processes took 0.50 of a core (at most 1.00): the machine was not quiet",
		"rate2000, pool, 1000 keys: the load took 0.40 of a core, more than a third: latencies are not to be trusted",
	}
	if !slices.Equal(r.Warnings, want) {
		t.Errorf("warned of %q, want %q", r.Warnings, want)
	}
}

func TestTheTableIsForPeople(t *testing.T) {
	o := options{rounds: 3, lasts: time.Second, conns: 64, keys: []int{1000}, pool: 1000, bin: t.TempDir()}
	b, points, all := threeRounds(o)
	r := b.report(t.Context(), points, all)
	var out strings.Builder
	r.table(&out, points)
	for _, want := range []string{
		"Saturated: 64 connections", "0.600 (0.600–1.200)", "1.20", "16000 (8000–16000)", "0.050 (0.050–0.100)", "1049",
		"left out: nginx: it is not here", "warning: rate2000, pool, 1000 keys: the load took 0.40 of a core",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "Idle streams") {
		t.Error("a point that was not measured is shown")
	}
	path := filepath.Join(t.TempDir(), "made", "bench.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if f, _ := figureIn(back, "saturated", hand, "cpu"); f.Median != 0.5 || f.Max != 1 || f.Ratio.Median != 1 {
		t.Errorf("the file says %+v", f)
	}
}

func figureIn(r report, point, subject, metric string) (figureReport, bool) {
	for _, p := range r.Points {
		for _, s := range p.Subjects {
			if f, has := s.Figures[metric]; has && p.Name == point && s.Name == subject {
				return f, true
			}
		}
	}
	return figureReport{}, false
}

func near(got, want []float64) bool {
	return slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
}

func TestOptionsAreChecked(t *testing.T) {
	for _, bad := range []string{"-rounds 0", "-seconds 0", "-keys 0", "-keys many", "-connections 0", "-pool 0", "-what", "word"} {
		if _, err := parse(strings.Fields(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	o, err := parse(strings.Fields("-keys 5,1,5 -points rest,saturated -bin here"))
	if err != nil || !slices.Equal(o.keys, []int{1, 5}) || o.json != "here/bench.json" {
		t.Errorf("read as %+v, %v", o, err)
	}
	points, err := o.chosen()
	if err != nil || len(points) != 2 || points[0].name != "saturated" {
		t.Errorf("chosen: %v, %v", points, err)
	}
	if _, err := (options{keys: []int{1}, points: []string{"everything"}}).chosen(); err == nil {
		t.Error("a point that there is not is taken")
	}
}
