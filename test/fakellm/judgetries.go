package fakellm

import "fmt"

// DoubleTries finds requests that tried one key twice. Probes are left out, and so
// are requests without an id, which cannot be told apart.
func DoubleTries(entries []Entry) []string {
	type try struct{ request, key string }
	first := map[try]Entry{}
	var found []string
	for _, e := range inOrder(entries) {
		if e.Probe || e.RequestID == "" {
			continue
		}
		t := try{e.RequestID, e.Key}
		if before, twice := first[t]; twice {
			found = append(found, fmt.Sprintf("%s tried its key again: first at seq %d", e.describe(), before.Seq))
			continue
		}
		first[t] = e
	}
	return found
}

// MoreTriesThan finds requests that were tried more than n times. Probes and
// requests without an id are left out.
func MoreTriesThan(entries []Entry, n int) []string {
	tries := map[string]int{}
	var found []string
	for _, e := range inOrder(entries) {
		if e.Probe || e.RequestID == "" {
			continue
		}
		tries[e.RequestID]++
		if got := tries[e.RequestID]; got > n {
			found = append(found, fmt.Sprintf("%s is try %d of %d allowed", e.describe(), got, n))
		}
	}
	return found
}

// TriedAfterContent finds requests that were tried once more after a try that had
// sent an event of a stream or a complete answer: two answers, mixed or paid for
// twice. Probes and requests without an id are left out.
func TriedAfterContent(entries []Entry) []string {
	answered := map[string]Entry{}
	var found []string
	for _, e := range inOrder(entries) {
		if e.Probe || e.RequestID == "" {
			continue
		}
		if before, ok := answered[e.RequestID]; ok {
			found = append(found, fmt.Sprintf("%s came after seq %d had sent content", e.describe(), before.Seq))
		}
		if e.Events > 0 || e.Outcome == Completed {
			answered[e.RequestID] = e
		}
	}
	return found
}
