package system

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Data planes hold every session to its invariants, count what breaks one and log it. No story of a sound control plane may
// have any: this is looked at when a story ends, whatever else it was about.

// brokenInvariant is how the message ends in both formats of logs.
const brokenInvariant = `the control plane broke an invariant of the session"`

// violationsIn answers the lines of a log that tell of a violation, of a session or of the pool.
func violationsIn(log string) []string {
	var found []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, brokenInvariant) || strings.Contains(line, `an invariant of the pool does not hold"`) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// violationsOn answers what a page of metrics counts, by invariant; nil: it counts none at all, not even zero.
func violationsOn(page string) map[string]int {
	var counts map[string]int
	for line := range strings.Lines(page) {
		label, ok := strings.CutPrefix(line, `apipool_session_violations_total{invariant="`)
		if !ok {
			continue
		}
		name, value, _ := strings.Cut(label, `"} `)
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			n = -1
		}
		if counts == nil {
			counts = map[string]int{}
		}
		counts[name] = int(n)
	}
	return counts
}

// judgeViolations answers what is wrong with a node at a story's end; page is empty if the node is gone.
func judgeViolations(node, page string) []string {
	if page == "" {
		return nil
	}
	counts := violationsOn(page)
	if len(counts) != 7 {
		return []string{fmt.Sprintf("%s counts violations of %d invariants, want 7: who looks sees nothing", node, len(counts))}
	}
	var found []string
	for name, n := range counts {
		if n != 0 {
			found = append(found, fmt.Sprintf("%s counts %d violations of the invariant %q", node, n, name))
		}
	}
	return found
}

// wantNoViolations asks every node that still runs, and reads every log.
func (f *fleet) wantNoViolations() {
	f.t.Helper()
	if f.poisoned {
		return
	}
	for id, p := range f.nodes {
		select {
		case <-p.done:
		default:
			page, err := page("http://" + f.port(id+"-ops") + "/metrics")
			if err != nil {
				f.t.Errorf("%s does not tell its violations: %v", id, err)
			}
			report(f.t, judgeViolations(id, page))
		}
	}
	for _, path := range f.logFiles() {
		text, err := os.ReadFile(path)
		if err != nil {
			f.t.Error(err)
		}
		for _, line := range violationsIn(string(text)) {
			f.t.Errorf("%s: %s", filepath.Base(path), line)
		}
		if !f.restored && strings.Contains(string(text), noticed) {
			f.t.Errorf("%s: no backup was restored, and a new lineage was begun", filepath.Base(path))
		}
	}
}

// page answers what is at a URL, also when the test is over and its context with it.
func page(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func (c *cluster) wantNoViolations() {
	c.t.Helper()
	report(c.t, violationsIn(c.logs.String()))
	if n := strings.Count(c.logs.String(), noticed); n != c.restored {
		c.t.Errorf("a backup was restored %d times, and a new lineage was begun %d times", c.restored, n)
	}
}

func TestTheLookForViolationsFindsThem(t *testing.T) {
	lines := []string{"x 1"}
	for _, name := range []string{"ordered", "unique", "gapless", "resumable", "no_regress", "progress", "bounded"} {
		lines = append(lines, `apipool_session_violations_total{invariant="`+name+`"} 0`)
	}
	page := strings.Join(lines, "\n") + "\n"
	if found := judgeViolations("a", page); len(found) != 0 {
		t.Errorf("found %v where there is nothing", found)
	}
	if found := judgeViolations("a", strings.Replace(page, `unique"} 0`, `unique"} 2`, 1)); len(found) != 1 {
		t.Errorf("found %v of two violations of one invariant", found)
	}
	if found := judgeViolations("a", "x 1\n"); len(found) != 1 {
		t.Error("a node that counts nothing passes")
	}
	if found := violationsIn("a\n{\"msg\":\"" + brokenInvariant + ",…}\nb\n"); len(found) != 1 {
		t.Errorf("found %v in a log", found)
	}
}
