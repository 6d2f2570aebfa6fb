package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table prints what a person reads: medians over the rounds with the least and the most, and how many times the bare proxy's
// they are.
func (r report) table(out io.Writer, points []point) {
	fmt.Fprintf(out, "%s  pool %s  %s, %d cores, kernel %s, %s\n", r.Time.Format("2006-01-02 15:04"), r.Pool, r.Machine.CPU, r.Machine.Cores, r.Machine.Kernel, r.Machine.Go)
	fmt.Fprintf(out, "Median (least–most) of %d rounds of %g s; ×: the median of each round's ratio to the bare proxy.\n", r.Rounds, r.Seconds)
	for i, p := range points {
		if len(r.Points[i].Subjects) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n%s (%s)\n", p.title, p.name)
		columns(out, r.Points[i].rows(p.metrics))
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "\nwarning: %s\n", w)
	}
	for _, w := range r.LeftOut {
		fmt.Fprintf(out, "\nleft out: %s\n", w)
	}
}

func (p pointReport) rows(metrics []metric) [][]string {
	header := []string{""}
	for _, m := range metrics {
		header = append(header, m.title)
		if m.ratio {
			header = append(header, "× bare")
		}
	}
	rows := [][]string{header}
	for _, s := range p.Subjects {
		row := []string{s.Name}
		for _, m := range metrics {
			f, has := s.Figures[m.name]
			row = append(row, shown(f, has, m.digits))
			if m.ratio {
				row = append(row, shownRatio(f))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func shown(f figureReport, has bool, digits int) string {
	if !has {
		return "–"
	}
	return shownSpread(f.spread, digits)
}

func shownRatio(f figureReport) string {
	if f.Ratio == nil {
		return "–"
	}
	return shownSpread(*f.Ratio, 2)
}

func shownSpread(s spread, digits int) string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) }
	if s.Min == s.Max {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Min), number(s.Max))
}

// columns prints rows with their cells one below the other.
func columns(out io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString("  " + cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}
