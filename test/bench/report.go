package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// results holds each round's figures, by point and subject.
type results map[string]map[string][]figures

func (r results) add(point, subject string, f figures) {
	if r[point] == nil {
		r[point] = map[string][]figures{}
	}
	r[point][subject] = append(r[point][subject], f)
}

// values answers a metric's figure of each round; nil: the subject has none.
func (r results) values(point, subject, metric string) []float64 {
	var all []float64
	for _, f := range r[point][subject] {
		if v, ok := f[metric]; ok {
			all = append(all, v)
		}
	}
	return all
}

// excess answers, round by round, by how much a subject's figure exceeds another's.
func (r results) excess(point, subject, than, metric string) []float64 {
	values, base := r.values(point, subject, metric), r.values(point, than, metric)
	var all []float64
	for i := range min(len(values), len(base)) {
		all = append(all, values[i]-base[i])
	}
	return all
}

// perKey answers what a leased key costs a data plane at rest: what it has more than one without keys.
func (r results) perKey(point, subject string, keys int) []float64 {
	all := r.excess(point, subject, poolName(0), "rss")
	for i := range all {
		all[i] *= (1 << 20) / float64(keys)
	}
	return all
}

// report is what is written as JSON.
type report struct {
	Time     time.Time     `json:"time"`
	Command  []string      `json:"command"`
	Pool     string        `json:"pool"` // as the data plane tells its version
	Machine  machine       `json:"machine"`
	Rounds   int           `json:"rounds"`
	Seconds  float64       `json:"seconds"`
	LeftOut  []string      `json:"leftOut"`
	Warnings []string      `json:"warnings"`
	Points   []pointReport `json:"points"`
}

type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

type pointReport struct {
	Name     string          `json:"name"`
	Title    string          `json:"title"`
	Subjects []subjectReport `json:"subjects"`
}

type subjectReport struct {
	Name    string                  `json:"name"`
	Figures map[string]figureReport `json:"figures"`
}

// figureReport is a figure over all rounds. Ratio is to the bare proxy's, round by round.
type figureReport struct {
	Rounds []float64 `json:"rounds"`
	spread
	Ratio *spread `json:"ratio,omitempty"`
}

func (b *bench) report(ctx context.Context, points []point, all results) report {
	r := report{
		Time: time.Now().UTC().Truncate(time.Second), Command: os.Args, Pool: b.version(ctx), Machine: thisMachine(),
		Rounds: b.rounds, Seconds: b.lasts.Seconds(), LeftOut: b.leftOut, Warnings: warnings(points, all),
	}
	for _, p := range points {
		pr := pointReport{Name: p.name, Title: p.title}
		for _, name := range p.subjects {
			if all[p.name][name] != nil {
				pr.Subjects = append(pr.Subjects, subjectReport{name, b.figuresOf(p, name, all)})
			}
		}
		r.Points = append(r.Points, pr)
	}
	return r
}

func (b *bench) figuresOf(p point, name string, all results) map[string]figureReport {
	found := map[string]figureReport{}
	for _, m := range p.metrics {
		var values []float64
		switch {
		case m.added != "" && name != direct:
			values = all.excess(p.name, name, direct, m.added)
		case m.name == perKey.name && name != poolName(0):
			values = all.perKey(p.name, name, b.most())
		default:
			values = all.values(p.name, name, m.name)
		}
		if len(values) == 0 {
			continue
		}
		f := figureReport{Rounds: values, spread: spreadOf(values)}
		if base := ratios(values, all.values(p.name, hand, m.name)); m.ratio && len(base) > 0 {
			of := spreadOf(base)
			f.Ratio = &of
		}
		found[m.name] = f
	}
	return found
}

func (b *bench) version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "dataplane"), "--version").Output() //nolint:gosec // the data plane that was measured
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "dataplane version "))
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Go: runtime.Version()}
	info, _ := os.ReadFile("/proc/cpuinfo") // only told if it is there
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	m.Kernel = strings.TrimSpace(string(release))
	return m
}

// write leaves the report in a file.
func (r report) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // it holds no secret
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
