package system

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"ollama-api-pool/test/fakellm"
)

// call is a request that a client put on a connection.
type call struct {
	id   string
	conn int  // of the client: its first, second …
	full bool // answered to the end; otherwise the connection broke
}

// tally is what the control plane counted of a token.
type tally struct{ total, success int }

// reckoning is what counts make of what happened. Only what cannot have been otherwise is lost or doubled; what may have been
// either way is unsure.
type reckoning struct {
	lost, doubled int // requests and attempts
	unsure        int // requests that broke off before the upstream saw them: counted or not, both are right
	unknown       int // counted requests that are no success
	wrong         []string
}

func (r *reckoning) between(what string, counted, least, most int) {
	switch {
	case counted < least:
		r.lost += least - counted
		r.wrong = append(r.wrong, fmt.Sprintf("%s: counted %d, there were at least %d", what, counted, least))
	case counted > most:
		r.doubled += counted - most
		r.wrong = append(r.wrong, fmt.Sprintf("%s: counted %d, there were at most %d", what, counted, most))
	}
}

// reckon judges the counts of tokens and of keys by what their clients had and what the upstream saw. A node counts a request
// before it reads the next one from the same connection, and notes it before it asks the upstream. So a request must be there
// if it was answered or the upstream saw it, and a success must be there if another request followed it to the upstream on its
// connection. The last success of a client before a kill may be there as an unknown end.
func reckon(calls map[string][]call, tokens map[string]tally, keys map[string]int, ledger []fakellm.Entry) (r reckoning) {
	seen, completed := map[string]bool{}, map[string]bool{}
	for _, e := range ledger {
		seen[e.RequestID] = true
		completed[e.RequestID] = completed[e.RequestID] || e.Outcome == fakellm.Completed
	}
	for _, token := range slices.Sorted(maps.Keys(calls)) {
		var sure, open, good, better int // at least so many requests and so many more; at least so many successes and so many more
		made := calls[token]
		for i, c := range made {
			if !c.full && !seen[c.id] {
				open++
				continue
			}
			sure++
			last := i == len(made)-1
			switch {
			case c.full && (last || made[i+1].conn == c.conn && seen[made[i+1].id]):
				good++
			case c.full || completed[c.id]:
				better++
			}
		}
		r.unsure += open
		r.unknown += tokens[token].total - tokens[token].success
		r.between("requests of "+token, tokens[token].total, sure, sure+open)
		r.between("successes of "+token, tokens[token].success, good, good+better)
	}
	attempts, counted := 0, 0
	for key, of := range fakellm.PerKey(ledger) {
		display := key[:4] + "…" + key[len(key)-4:]
		attempts += of.Total
		counted += keys[display]
		r.between("attempts of key "+display, keys[display], of.Total, of.Total+r.unsure)
	}
	r.between("all attempts", counted, attempts, attempts+r.unsure)
	return r
}

// The judge finds what is lost and what is doubled, and takes nothing for it that may have been.
func TestTheJudgeOfJournalsTellsLostFromDoubled(t *testing.T) {
	key := "aaaa-a-key-bbbb"
	entry := func(id, outcome string) fakellm.Entry {
		return fakellm.Entry{Key: key, RequestID: id, Path: "/v1/chat/completions", Outcome: outcome}
	}
	calls := map[string][]call{"t": {
		{id: "1", conn: 1, full: true}, {id: "2", conn: 1, full: true}, {id: "3", conn: 1}, // cut at the upstream
		{id: "4", conn: 2}, // cut before it
		{id: "5", conn: 3, full: true},
	}}
	ledger := []fakellm.Entry{
		entry("1", fakellm.Completed), entry("2", fakellm.Completed), entry("3", fakellm.Canceled), entry("5", fakellm.Completed),
	}
	for _, c := range []struct {
		name          string
		token         tally
		attempts      int
		lost, doubled int
	}{
		{"exact", tally{4, 3}, 4, 0, 0},
		{"the one that was cut before the upstream is there too", tally{5, 3}, 5, 0, 0},
		{"a request is lost", tally{3, 3}, 4, 1, 0},
		{"a success is lost", tally{4, 2}, 4, 1, 0},
		{"a request is doubled", tally{6, 3}, 4, 0, 1},
		{"a success is doubled", tally{5, 4}, 4, 0, 1},
	} {
		r := reckon(calls, map[string]tally{"t": c.token}, map[string]int{"aaaa…bbbb": c.attempts}, ledger)
		if r.lost != c.lost || r.doubled != c.doubled || r.unsure != 1 {
			t.Errorf("%s: %d lost, %d doubled, %d unsure: %v", c.name, r.lost, r.doubled, r.unsure, r.wrong)
		}
	}
	// An attempt that is lost or doubled shows at its key and in the sum.
	if r := reckon(calls, map[string]tally{"t": {4, 3}}, map[string]int{"aaaa…bbbb": 3}, ledger); r.lost == 0 || r.doubled != 0 {
		t.Errorf("a lost attempt: %+v", r)
	}
	if r := reckon(calls, map[string]tally{"t": {4, 3}}, map[string]int{"aaaa…bbbb": 6}, ledger); r.lost != 0 || r.doubled == 0 {
		t.Errorf("a doubled attempt: %+v", r)
	}
}
