package jobs

import (
	"ollama-api-pool/controlplane/internal/pool"
	"ollama-api-pool/controlplane/internal/probe"
)

// Outcome is what came of one line or key, in one word.
type Outcome string

// The outcomes of an import's lines, then of a check's keys.
const (
	Added     Outcome = "added"
	Duplicate Outcome = "duplicate"
	Invalid   Outcome = "invalid"
	Failed    Outcome = "failed"

	Valid    Outcome = "valid"
	Limited  Outcome = "limited"
	Rejected Outcome = "rejected"
	Unknown  Outcome = "unknown"
)

const applied = "applied"

// outcomes are those that a job of the kind counts.
var outcomes = map[string][]Outcome{
	KindImport: {Added, Duplicate, Invalid, Failed},
	KindCheck:  {Valid, Limited, Rejected, Unknown, applied},
}

// Why a line is invalid, or a key was not added for another reason than the upstream's.
const (
	WrongFields      = "wrong_fields"
	NoKey            = "no_key"
	BadKey           = "bad_key"
	BadLabel         = "bad_label"
	LooksSwapped     = "looks_swapped"
	OtherProvider    = "other_provider"
	StoreUnavailable = "store_unavailable"
	NotTried         = "not_tried"
)

var messages = map[string]string{
	WrongFields: "has a number of fields that no known format has: 1 (key), 2 (user, key), 4 (e-mail, password, session, key) " +
		"or 5 (a further field before the key), with ---- between them",
	NoKey:            "the field of the key is empty",
	BadKey:           "a key has 8 to 512 visible ASCII characters, without comma, semicolon or bar",
	BadLabel:         "the first field is too long for a label, or holds a control character",
	LooksSwapped:     "the fields seem to be in another order: the first is the e-mail or user name, the last is the key",
	OtherProvider:    "the key belongs to another provider: delete it there first",
	StoreUnavailable: "the database could not take the change: nothing of this chunk was added; import the same again later",
	NotTried:         "was not tried, because the job ended before: import or check the same again later",
}

// Result is what came of one line or key.
type Result struct {
	Line     int    // from 1; 0 in a check
	Display  string // of the key
	ID       pool.KeyID
	Outcome  Outcome
	Reason   string
	Category string

	Before, After pool.Status // of a check
	Applied       bool        // the check changed the key's health
}

// Message tells the reason in words.
func (r Result) Message() string {
	if text, ok := messages[r.Reason]; ok {
		return text
	}
	return probe.Reason(r.Reason).Message()
}

func (r *Result) set(o Outcome, reason string) { r.Outcome, r.Reason = o, reason }
