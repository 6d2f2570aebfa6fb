package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapRoom is how much garbage may gather before it is collected, however little is in use. A data plane keeps a few
// megabytes and allocates some 17 KiB for every request: by Go's own measure it would collect dozens of times a second.
const heapRoom = 64 << 20

// easeCollector lets garbage gather up to heapRoom, or to twice what is in use if that is more, as Go does by itself. Whoever
// sets GOGC has the last word, and a GOMEMLIMIT holds either way.
func easeCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	percent := 0
	var adjust func(struct{})
	adjust = func(struct{}) {
		metrics.Read(live)
		want := int(min(max(heapRoom*100/max(live[0].Value.Uint64(), 1), 100), 3200))
		if want > percent+percent/8 || want < percent-percent/8 { // each change stops the world for a moment
			percent = want
			debug.SetGCPercent(percent)
		}
		afterCollection(adjust)
	}
	adjust(struct{}{})
}

// afterCollection runs f once, after the next collection has found that nobody holds the object it makes.
func afterCollection(f func(struct{})) {
	runtime.AddCleanup(new([64]byte), f, struct{}{})
}
