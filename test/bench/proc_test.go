package main

import (
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
