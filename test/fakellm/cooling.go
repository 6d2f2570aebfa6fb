package fakellm

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetrySeconds keeps a Retry-After within what a time.Duration can hold.
const maxRetrySeconds = 1e9

// retryAfter is a Retry-After that makes sense: a wait, or a date if at is set.
type retryAfter struct {
	wait time.Duration
	at   time.Time
}

// parseRetryAfter reads seconds (fractions allowed) or an HTTP date.
func parseRetryAfter(s string) (retryAfter, bool) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		// Written so that NaN fails too.
		ok := seconds >= 0 && seconds <= maxRetrySeconds
		return retryAfter{wait: time.Duration(seconds * float64(time.Second))}, ok
	}
	at, err := http.ParseTime(s)
	return retryAfter{at: at}, err == nil
}

func (r retryAfter) end(from time.Time) time.Time {
	if !r.at.IsZero() {
		return r.at
	}
	return from.Add(r.wait)
}

// coolLocked refuses until the time that the first refusal named, telling what is
// left of it, and serves from that very instant on.
func (k *keyState) coolLocked(b Behaviour, now time.Time) Behaviour {
	if k.coolFrom.IsZero() {
		k.coolFrom = now
	}
	told := retryAfter{wait: b.ResetIn}
	if b.RetryAfter != "" {
		told, _ = parseRetryAfter(b.RetryAfter) // Validate has read it before
	}
	left := told.end(k.coolFrom).Sub(now)
	if left <= 0 {
		return Behaviour{}
	}
	passed := now.Sub(k.coolFrom)
	b.ResetIn = max(0, b.ResetIn-passed)
	if passed > 0 && b.RetryAfter != "" && told.at.IsZero() {
		b.RetryAfter = remaining(left, strings.Contains(b.RetryAfter, "."))
	}
	return b
}

func remaining(left time.Duration, fractions bool) string {
	if fractions {
		return strconv.FormatFloat(left.Seconds(), 'f', -1, 64)
	}
	return wholeSeconds(left)
}
