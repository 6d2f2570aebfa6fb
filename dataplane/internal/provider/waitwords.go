package provider

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Times to wait as errors tell them in words: "try again in 2 hours 5 minutes", "resets at 2026-03-03T12:00:00Z", "you will
// regain access on Dec 3 at 10:00 AM UTC".
const (
	waitLead = `(?:try again|come back|retry|wait|resets?|renews?|refresh(?:es)?|available(?: again)?|regain access|until)`
	waitUnit = `(?:milliseconds?|ms|minutes?|mins?|months?|m|seconds?|secs?|s|hours?|hrs?|h|days?|d|weeks?|w)`
	waitSpan = `[0-9]+(?:\.[0-9]+)?\s*` + waitUnit
	clock    = `(?:[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:\.[0-9]+)?(?:\s*[ap]m)?|[0-9]{1,2}\s*[ap]m)`
	zone     = `\s*\(?(z|utc|gmt|[+-][0-9]{2}:?[0-9]{2}|[a-z_]+/[a-z_/]+|[ecmp][sd]?t\b|ce?st\b|cet\b|[bijk]st\b)?`
	until1st = waitLead + `\s+(?:(?:at|on|after|until|by)\s+)?`
)

var (
	waitsFor = regexp.MustCompile(waitLead + `\s+(?:(?:in|after|for)\s+)?(?:(?:about|approximately|around|another)\s+|~\s*)?(` +
		waitSpan + `(?:[\s,]*(?:and\s+)?` + waitSpan + `)*)(?:[^a-z0-9]|$)`)
	eachSpan = regexp.MustCompile(`([0-9]+(?:\.[0-9]+)?)\s*(` + waitUnit + `)`)

	// Each has year, month, day, clock and zone, in its own order; the names tell which.
	waitsUntil = [...]*regexp.Regexp{
		regexp.MustCompile(until1st + `(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})(?:(?:t|,?\s+at\s+|,?\s+)(?P<c>` + clock + `))?` + zone),
		regexp.MustCompile(until1st + `(?:[a-z]{3,9},\s*)?(?P<m>[a-z]{3,9})\.?\s+(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?(?:,?\s+(?P<y>[0-9]{4}))?(?:,?\s+(?:at\s+)?(?P<c>` + clock + `))?` + zone),
		regexp.MustCompile(until1st + `(?:[a-z]{3,9},\s*)?(?P<d>[0-9]{1,2})(?:st|nd|rd|th)?\s+(?P<m>[a-z]{3,9})\.?(?:,?\s+(?P<y>[0-9]{4}))?(?:,?\s+(?:at\s+)?(?P<c>` + clock + `))?` + zone),
		regexp.MustCompile(until1st + `(?P<c>` + clock + `)` + zone),
	}
	untilEpoch = regexp.MustCompile(until1st + `([0-9]{10}(?:[0-9]{3})?)(?:[^0-9]|$)`)
)

// maxWords is how much of a message is searched for a time.
const maxWords = 4 << 10

// waitInWords answers the shortest wait that a message tells, so that nobody who is quoted in it can make it longer. Zero:
// it tells none that lies ahead.
func waitInWords(message string, now time.Time) time.Duration {
	text := strings.ToLower(unquotedWords(message[:min(len(message), maxWords)]))
	var shortest time.Duration
	take := func(d time.Duration) {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	for _, m := range waitsFor.FindAllStringSubmatch(text, -1) {
		take(spans(m[1]))
	}
	for _, m := range untilEpoch.FindAllStringSubmatch(text, -1) {
		take(waitOrDate(m[1], now))
	}
	for _, form := range waitsUntil {
		for _, m := range form.FindAllStringSubmatch(text, -1) {
			take(untilDate(form, m, now))
		}
	}
	return shortest
}

// spans adds up "2 hours and 5 minutes".
func spans(text string) time.Duration {
	var sum float64
	for _, m := range eachSpan.FindAllStringSubmatch(text, -1) {
		n, _ := parseNumber(m[1])
		sum += n * float64(unitOf(m[2]))
	}
	return span(sum, 1)
}

func unitOf(name string) time.Duration {
	const day = 24 * time.Hour
	switch {
	case name == "ms", strings.HasPrefix(name, "milli"):
		return time.Millisecond
	case strings.HasPrefix(name, "mo"):
		return 30 * day
	case name[0] == 'm':
		return time.Minute
	case name[0] == 's':
		return time.Second
	case name[0] == 'h':
		return time.Hour
	case name[0] == 'd':
		return day
	default:
		return 7 * day
	}
}

// untilDate reads a match of one of waitsUntil. A zone that is not told is UTC, a clock that is not told is midnight; of a
// day without its year, and of a clock without its day, the next one is meant, unless that is months away. A zone by its name
// would take a table of all of them: such a time is not told.
func untilDate(form *regexp.Regexp, m []string, now time.Time) time.Duration {
	part := func(name string) string {
		if i := form.SubexpIndex(name); i >= 0 {
			return m[i]
		}
		return ""
	}
	now = now.UTC()
	sinceMidnight, isClock := clockOf(part("c"))
	east, isZone := offsetOf(m[len(m)-1])
	if !isClock || !isZone {
		return 0
	}
	sinceMidnight -= east
	if form.SubexpIndex("d") < 0 {
		t := now.Truncate(24 * time.Hour).Add(sinceMidnight)
		for !t.After(now) {
			t = t.Add(24 * time.Hour)
		}
		return until(t, now)
	}
	month, day := monthOf(part("m")), atoi(part("d"))
	if month == 0 || day < 1 || day > 31 {
		return 0
	}
	if y := part("y"); y != "" {
		return until(time.Date(atoi(y), month, day, 0, 0, 0, 0, time.UTC).Add(sinceMidnight), now)
	}
	for _, year := range [...]int{now.Year(), now.Year() + 1} {
		t := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Add(sinceMidnight)
		if t.After(now) && t.Sub(now) < 2*maxWait {
			return until(t, now)
		}
	}
	return 0
}

// clockOf reads "14:05:06" and "2 pm"; nothing is midnight.
func clockOf(s string) (time.Duration, bool) {
	if s == "" {
		return 0, true
	}
	s, _, _ = strings.Cut(s, ".")
	for _, layout := range [...]string{"15:04", "15:04:05", "3:04pm", "3:04:05pm", "3pm"} {
		if t, err := time.Parse(layout, strings.ReplaceAll(s, " ", "")); err == nil {
			return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second, true
		}
	}
	return 0, false
}

// offsetOf reads how far east of Greenwich a zone is.
func offsetOf(s string) (time.Duration, bool) {
	switch s {
	case "", "z", "utc", "gmt":
		return 0, true
	}
	for _, layout := range [...]string{"-07:00", "-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			_, seconds := t.Zone()
			return time.Duration(seconds) * time.Second, true
		}
	}
	return 0, false
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// monthOf reads a month's number or the beginning of its English name; 0: it is none.
func monthOf(s string) time.Month {
	if n := atoi(s); n >= 1 && n <= 12 {
		return time.Month(n)
	}
	if len(s) < 3 {
		return 0
	}
	if at := strings.Index(months, s[:3]); at >= 0 && at%3 == 0 {
		return time.Month(at/3 + 1)
	}
	return 0
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // what is no number is no day either
	return n
}
