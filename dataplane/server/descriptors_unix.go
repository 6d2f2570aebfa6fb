//go:build unix

package server

import "golang.org/x/sys/unix"

// descriptors answers how many files and sockets the process may have open. Go has raised the soft limit to the hard one.
func descriptors() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024 // what is usual
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
