package load

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ticks is a timer that the poller knows as a file. Go's own timers wait in whole milliseconds while a program has nothing else
// to do, which is more than what is to be measured.
type ticks struct {
	file *os.File
	buf  [8]byte
}

func newTicks(every time.Duration) (*ticks, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	t := &ticks{file: os.NewFile(uintptr(fd), "timer")}
	gap := unix.NsecToTimespec(every.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: gap, Value: gap}, nil); err != nil {
		t.close()
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return t, nil
}

// next waits for the next tick and answers how many have come since the last call.
func (t *ticks) next() (int, error) {
	if _, err := t.file.Read(t.buf[:]); err != nil {
		return 0, err
	}
	return int(binary.NativeEndian.Uint64(t.buf[:])), nil
}

func (t *ticks) close() { _ = t.file.Close() }
