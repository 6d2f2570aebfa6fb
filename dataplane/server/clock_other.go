//go:build !linux

package server

import "time"

// bootTime is Go's monotonic clock where there is no CLOCK_BOOTTIME: it stops while the machine is suspended.
func bootTime() time.Duration { return time.Since(started) }

var started = time.Now()
