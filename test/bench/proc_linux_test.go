package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestThisProcessIsSeen(t *testing.T) {
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
