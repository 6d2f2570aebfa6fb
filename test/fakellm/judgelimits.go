package fakellm

import (
	"fmt"
	"slices"
	"time"
)

// OverRate finds the requests to a model with a key, probes included, that were
// more than perMinute within any 60 seconds. It works from the starts alone, whether or
// not the key had Limits, so it also judges the provider's own enforcement; for
// that, pass it entries without the refused ones.
func OverRate(entries []Entry, key string, perMinute int) []string {
	var starts []time.Time
	var found []string
	for _, e := range inOrder(entries) {
		if e.Key != key || !costs(e.Path) {
			continue
		}
		starts = append(starts, e.Start)
		before := len(starts) - 1 - perMinute
		if before >= 0 && e.Start.Sub(starts[before]) < time.Minute {
			found = append(found, fmt.Sprintf("%s is one of %d within %v, where %d a minute are allowed",
				e.describe(), perMinute+1, e.Start.Sub(starts[before]), perMinute))
		}
	}
	return found
}

// OverConcurrency finds the requests to a model with a key, probes included, that
// started while limit others were under way. One that starts at the very instant
// that another ends does not overlap it.
func OverConcurrency(entries []Entry, key string, limit int) []string {
	var running []Entry
	var found []string
	for _, e := range inOrder(entries) {
		if e.Key != key || !costs(e.Path) {
			continue
		}
		running = slices.DeleteFunc(running, func(r Entry) bool {
			return !r.End.IsZero() && !r.End.After(e.Start)
		})
		running = append(running, e)
		if len(running) > limit {
			found = append(found, fmt.Sprintf("%s made it %d at once, where %d are allowed", e.describe(), len(running), limit))
		}
	}
	return found
}

// Count sums up the attempts with one key.
type Count struct {
	// Total is the sum of the six below.
	Total                                          int
	OK, Refused, Broken, Cut, Canceled, Unfinished int
	// The usage of the OK ones.
	PromptTokens, CompletionTokens int
}

// PerKey counts the Attempts by key. A key that was never tried is not in the map
// and reads as zero.
func PerKey(entries []Entry) map[string]Count {
	counts := map[string]Count{}
	for _, e := range Attempts(entries) {
		c := counts[e.Key]
		c.add(e)
		counts[e.Key] = c
	}
	return counts
}

func (c *Count) add(e Entry) {
	c.Total++
	c.PromptTokens += e.PromptTokens
	c.CompletionTokens += e.CompletionTokens
	switch e.Outcome {
	case Completed:
		c.OK++
	case Refused:
		c.Refused++
	case Broken:
		c.Broken++
	case Cut:
		c.Cut++
	case Canceled:
		c.Canceled++
	default:
		c.Unfinished++
	}
}
