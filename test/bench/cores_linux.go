package main

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// takeCores chooses two cores and binds this process to the second. With one core there is nothing to keep apart.
func takeCores() (cores, error) {
	set, err := affinity()
	if err != nil {
		return cores{}, err
	}
	var free []int
	for i := range 1024 {
		if set.IsSet(i) {
			free = append(free, i)
		}
	}
	if len(free) < 2 {
		return cores{noCore, noCore}, nil
	}
	c := cores{free[0], free[1]}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return c, err
	}
	for _, t := range threads { // those to come inherit it
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return c, err
		}
		if err := bind(id, c.rest); err != nil {
			return c, err
		}
	}
	runtime.GOMAXPROCS(1)
	return c, nil
}

// onCore does something on a thread that is bound to a core, as are the processes that it starts.
func onCore(core int, do func() error) error {
	if core == noCore {
		return do()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := affinity()
	if err != nil {
		return err
	}
	if err := bind(0, core); err != nil {
		return err
	}
	return errors.Join(do(), unix.SchedSetaffinity(0, before))
}

func affinity() (*unix.CPUSet, error) {
	var set unix.CPUSet
	err := unix.SchedGetaffinity(0, &set)
	return &set, err
}

// bind has a thread run on one core only; 0: the calling one.
func bind(thread, core int) error {
	var set unix.CPUSet
	set.Set(core)
	return unix.SchedSetaffinity(thread, &set)
}

// apart is how a child lives: in a process group of its own, so that Ctrl-C reaches this process only, and no longer than this
// process, however that ends.
func apart() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
