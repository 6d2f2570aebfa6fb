package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is what /proc counts CPU time in: USER_HZ, which is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

var errProc = errors.New("a file of /proc that reads as nothing known")

// cpuOf answers the CPU time that a process has used, in user and kernel mode, its ended threads included.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(text)
}

// parseStat finds utime and stime. The process's name is in front of them, in parentheses, and may hold spaces and parentheses.
func parseStat(text []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(text, ')')
	if end < 0 {
		return 0, errProc
	}
	const utime, stime = 11, 12 // counted from the state, which follows the name
	fields := strings.Fields(string(text[end+1:]))
	if len(fields) <= stime {
		return 0, errProc
	}
	var sum int64
	for _, f := range fields[utime : stime+1] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, errProc
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// busyOf answers the CPU time that all processes of this machine have used together.
func busyOf() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachine(text)
}

// parseMachine adds up the first line of /proc/stat, but for what is waiting (idle, iowait), what this machine was not given
// (steal), and what is counted there twice (guests).
func parseMachine(text []byte) (time.Duration, error) {
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, errProc
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, errProc
		}
		sum += n
	}
	return time.Duration(sum) * tick, nil
}

// rssOf answers the memory that a process has in use, in bytes. The sum over its mappings is exact; what /proc/PID/status says
// may be behind by some pages per core and stands in where there is no such sum.
func rssOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil {
		return parseKB(text, "Rss:")
	}
	if text, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err != nil {
		return 0, err
	}
	return parseKB(text, "VmRSS:")
}

// parseKB finds a line such as "Rss:   123 kB".
func parseKB(text []byte, name string) (int64, error) {
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != name || fields[2] != "kB" {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, errProc
		}
		return n << 10, nil
	}
	return 0, errProc
}
