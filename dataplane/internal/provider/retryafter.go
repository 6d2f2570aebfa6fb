package provider

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxWait bounds what an upstream may say about waiting: a quota that resets monthly is real, more is a mistake.
const maxWait = 30 * 24 * time.Hour

// retryAfter reads how long an upstream says to wait, from the plainest way of saying it to the most obscure. limit is when a
// limit that was met ends. Zero: it does not say, or not anything that lies ahead.
func retryAfter(h http.Header, b *errorBody, limit time.Duration, now time.Time) time.Duration {
	if d := wait(h.Get("Retry-After-Ms"), time.Millisecond); d > 0 {
		return d
	}
	if d := waitOrDate(h.Get("Retry-After"), now); d > 0 {
		return d
	}
	if limit > 0 {
		return limit
	}
	return b.retryAfter(now)
}

// wait reads a number of units, fractions included.
func wait(s string, unit time.Duration) time.Duration {
	n, ok := parseNumber(s)
	if !ok {
		return 0
	}
	return span(n, unit)
}

// parseNumber reads any number; one too large for its type is infinite.
func parseNumber(s string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}

// span is n units within [0, maxWait], whatever n is.
func span(n float64, unit time.Duration) time.Duration {
	switch d := n * float64(unit); {
	case math.IsNaN(d) || d <= 0:
		return 0
	case d >= float64(maxWait):
		return maxWait
	default:
		return time.Duration(d)
	}
}

func until(t, now time.Time) time.Duration { return min(max(t.Sub(now), 0), maxWait) }

// waitOrDate reads Retry-After as HTTP defines it, and whatever else stands there: a fraction, a duration, a modern date, a
// moment. A moment is told from a number of seconds by being decades of them.
func waitOrDate(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if n, ok := parseNumber(s); ok {
		return momentOrSpan(n, now)
	}
	if d, err := time.ParseDuration(s); err == nil {
		return min(max(d, 0), maxWait)
	}
	if t, err := http.ParseTime(s); err == nil {
		return until(t, now)
	}
	for _, layout := range [...]string{time.RFC3339, "2006-01-02 15:04:05Z07:00", time.DateTime, time.DateTime + " MST", time.DateOnly} {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return until(t, now)
		}
	}
	return 0
}

func momentOrSpan(n float64, now time.Time) time.Duration {
	switch {
	case n >= 1e11 && n < 1e15:
		return until(time.UnixMilli(int64(n)), now)
	case n >= 1e9 && n < 1e11:
		return until(time.Unix(int64(n), 0), now)
	default:
		return span(n, time.Second)
	}
}

// resetHeaders are the headers that tell when a limit ends, each with the one that tells what is left of it.
var resetHeaders = [...][2]string{
	{"X-Ratelimit-Reset", "X-Ratelimit-Remaining"},
	{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Requests"},
	{"X-Ratelimit-Reset-Tokens", "X-Ratelimit-Remaining-Tokens"},
	{"Ratelimit-Reset", "Ratelimit-Remaining"},
	{"Anthropic-Ratelimit-Requests-Reset", "Anthropic-Ratelimit-Requests-Remaining"},
	{"Anthropic-Ratelimit-Tokens-Reset", "Anthropic-Ratelimit-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Input-Tokens-Reset", "Anthropic-Ratelimit-Input-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Output-Tokens-Reset", "Anthropic-Ratelimit-Output-Tokens-Remaining"},
	{"Anthropic-Ratelimit-Unified-Reset", "Anthropic-Ratelimit-Unified-Remaining"},
}

// limitReset reads x-ratelimit-reset and its kin. Several limits may be told at once: of those that are used up the last
// to end counts; if none is said to be, the first.
func limitReset(h http.Header, now time.Time) time.Duration {
	var usedUp, first time.Duration
	for _, names := range resetHeaders {
		d := waitOrDate(h.Get(names[0]), now)
		if d == 0 {
			continue
		}
		if strings.TrimSpace(h.Get(names[1])) == "0" {
			usedUp = max(usedUp, d)
		}
		if first == 0 || d < first {
			first = d
		}
	}
	if usedUp > 0 {
		return usedUp
	}
	return first
}
