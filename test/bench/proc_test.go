package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestCPUTimeIsReadFromStat(t *testing.T) {
	const rest = "S 1 2 3 4 -1 4194560 1000 0 2 0 150 50 7 8 20 0 9 0 100 1000000 500 18446744073709551615"
	for _, tt := range []struct {
		sentence, text string
		want           time.Duration
	}{
		{"User and kernel mode are added, ended children's are not", "42 (dataplane) " + rest, 2 * time.Second},
		{"A name may hold spaces and parentheses", "42 (a) S 9 (b) 77) " + rest, 2 * time.Second},
		{"A line without a name is none", "42 dataplane " + rest, -1},
		{"A line that ends early is none", "42 (dataplane) S 1 2 3", -1},
		{"A time that is no number is none", "42 (dataplane) " + strings.Replace(rest, "150", "x", 1), -1},
		{"Nothing is nothing", "", -1},
	} {
		got, err := parseStat([]byte(tt.text))
		if err != nil {
			got = -1
		}
		if got != tt.want {
			t.Errorf("%s: got %v (%v), want %v", tt.sentence, got, err, tt.want)
		}
	}
}

func TestTheMachinesTimeIsAllButWaiting(t *testing.T) {
	const text = "cpu  100 20 30 100000 5000 4 6 700 80 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
	if got, err := parseMachine([]byte(text)); got != 1600*time.Millisecond || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "cpu  1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu a 2 3 4 5 6 7 8"} {
		if got, err := parseMachine([]byte(bad)); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestMemoryIsReadInKibibytes(t *testing.T) {
	const text = "00400000-7fff ---p 00000000 00:00 0  [rollup]\nRss:               20480 kB\nPss_Dirty:  7 kB\nAnonRss: 3 kB\n"
	if got, err := parseKB([]byte(text), "Rss:"); got != 20<<20 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	for _, bad := range []string{"", "Rss: many kB\n", "Rss: 5 MB\n", "XRss: 5 kB\n"} {
		if got, err := parseKB([]byte(bad), "Rss:"); err == nil {
			t.Errorf("%q was read as %d", bad, got)
		}
	}
}

func TestThisProcessIsSeen(t *testing.T) {
	needLinux(t)
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for after := before; after == before; { // uses what is measured
		if after, err = cpuOf(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if rss, err := rssOf(os.Getpid()); err != nil || rss < 1<<20 || rss > 1<<40 {
		t.Errorf("memory in use: %d, %v", rss, err)
	}
	if _, err := cpuOf(0); err == nil {
		t.Error("a process that is none has used CPU time")
	}
}

func TestAProcessRunsOnItsCoreAndEnds(t *testing.T) {
	needLinux(t)
	if _, err := exec.LookPath("sleep"); err != nil {
		t.Skip("there is no sleep here")
	}
	allowed := statusOf(t, "self", "Cpus_allowed_list:")
	core := firstOf(t, allowed)
	p, err := program{name: "sleep", core: core, dir: t.TempDir(), args: []string{"sleep", "60"}}.start()
	if err != nil {
		t.Fatal(err)
	}
	if got := statusOf(t, strconv.Itoa(p.pid()), "Cpus_allowed_list:"); got != strconv.Itoa(core) {
		t.Errorf("it may run on %s, not on %d only", got, core)
	}
	p.stop()
	select {
	case <-p.done:
	default:
		t.Error("stop returned before it had ended")
	}
	if got := statusOf(t, "self", "Cpus_allowed_list:"); got != allowed {
		t.Errorf("this process may run on %s now, before on %s", got, allowed)
	}
}

func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
}

func statusOf(t *testing.T, pid, name string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(text))
	return words[slices.Index(words, name)+1]
}

func firstOf(t *testing.T, list string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '-' })[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
