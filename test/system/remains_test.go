package system

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// remains is what a node holds while nobody asks anything of it.
type remains struct{ goroutines, descriptors, connections, inFlight int }

// rest closes the connections that are kept for later, on both sides of a node, and answers what is left.
func (f *fleet) rest(id string) remains {
	f.t.Helper()
	for _, web := range f.webs {
		web.Config.SetKeepAlivesEnabled(false) // closes those that are idle
		web.Config.SetKeepAlivesEnabled(true)
	}
	f.client.CloseIdleConnections()
	return f.remains(id)
}

func (f *fleet) remains(id string) remains {
	f.t.Helper()
	m := f.get("http://" + f.port(id+"-ops") + "/metrics").body
	now := remains{
		goroutines: metric(m, "go_goroutines"), descriptors: f.descriptors(id),
		connections: metric(m, "apipool_client_connections"), inFlight: metric(m, "apipool_in_flight"),
	}
	if now.goroutines < 0 || now.descriptors == 0 || now.connections < 0 || now.inFlight < 0 {
		f.t.Fatalf("%s does not tell what it holds: %+v", id, now)
	}
	return now
}

// descriptors answers how many a node has open, by the system's word; 0: it is gone.
func (f *fleet) descriptors(id string) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", f.nodes[id].cmd.Process.Pid))
	return len(entries)
}

// logOf answers what a process has logged.
func (f *fleet) logOf(t *testing.T, id string) string {
	t.Helper()
	text, err := os.ReadFile(f.path(id + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// metric answers the figure of a metric without labels; -1: there is none.
func metric(page, name string) int {
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			if n, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil {
				return int(n)
			}
		}
	}
	return -1
}

// wantNothingLeft waits until a node holds no more than it did before.
func (f *fleet) wantNothingLeft(id string, before remains) {
	f.t.Helper()
	var now remains
	for range 400 {
		now = f.rest(id)
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors &&
			now.connections == 0 && now.inFlight == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	f.t.Errorf("%s holds %+v, and before it was %+v\n%.6000s", id, now, before,
		f.get("http://"+f.port(id+"-ops")+"/debug/pprof/goroutine?debug=1").body)
}

// resident answers a process's memory in bytes, as the system counts it.
func (p *process) resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); words[0] == "VmRSS:" {
			kb, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("the system does not tell the process's memory")
	return 0
}

var commit = sync.OnceValue(func() string {
	out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
})

// figure tells something measured. Figures are no verdicts: machines differ.
func figure(t *testing.T, seed any, name, format string, args ...any) {
	t.Helper()
	host, _ := os.Hostname()
	t.Logf("%s: %s (seed %v, commit %s, host %s)", name, fmt.Sprintf(format, args...), seed, commit(), host)
}

// spread answers the median and the longest of some times.
func spread(times []time.Duration) (median, longest time.Duration) {
	if len(times) == 0 {
		return 0, 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2], sorted[len(sorted)-1]
}
