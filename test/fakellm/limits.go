package fakellm

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// verdict is what the provider thinks of a request's key when its headers arrive.
type verdict struct {
	unknown    bool
	violation  string // the limit that was exceeded
	retryAfter string // with violation: when one more request will fit
	behaviour  Behaviour
	permit     *tally // to give back at the end; nil if none was taken
}

func (u *Upstream) judgeLocked(secret string, want asks, now time.Time) verdict {
	if want == asksNothing {
		return verdict{}
	}
	if u.keys[secret] == nil && (secret == "" || !u.cfg.AcceptAnyKey) {
		return verdict{unknown: true}
	}
	k := u.keyLocked(secret)
	if want == asksKey {
		return verdict{behaviour: k.turnLocked(now)}
	}
	if violation, wait := k.overLocked(now); violation != "" {
		return verdict{violation: violation, retryAfter: wholeSeconds(wait)}
	}
	k.starts = append(k.starts, now)
	k.running++
	return verdict{behaviour: k.turnLocked(now), permit: k.tally}
}

// overLocked names the limit that one more request would exceed, and the time
// until it would fit.
func (k *keyState) overLocked(now time.Time) (violation string, wait time.Duration) {
	// A request leaves the window exactly one minute after it started.
	gone := 0
	for gone < len(k.starts) && now.Sub(k.starts[gone]) >= time.Minute {
		gone++
	}
	k.starts = k.starts[gone:]

	limits := k.behaviour.Limits
	if n := limits.RequestsPerMinute; n > 0 && len(k.starts) >= n {
		// After a limit was lowered, several must leave before one more fits.
		leaves := k.starts[len(k.starts)-n].Add(time.Minute)
		return fmt.Sprintf("over %d requests per minute", n), leaves.Sub(now)
	}
	if n := limits.MaxConcurrent; n > 0 && k.running >= n {
		// Nobody knows when a running request ends; one second is the least a header says.
		return fmt.Sprintf("over %d requests at once", n), time.Second
	}
	return "", 0
}

// wholeSeconds rounds up, so that who waits as told is never early.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
