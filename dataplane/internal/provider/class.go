package provider

import "time"

// Class is what an attempt came to. It decides everything that follows: whether another key is tried, what is held against
// the key, what is counted, and what the client sees.
type Class uint8

// The classes.
const (
	Unknown      Class = iota
	OK                 // answered in full
	ClientError        // refused as the client's own fault
	Forbidden          // 403 about the model or the content
	RateLimited        // 429
	Quota              // quota or credit used up
	AuthRejected       // the secret is not accepted
	ServerError        // 5xx
	Timeout            // no answer in time
	LocalError         // nothing was learnt about the key: not reached, or an answer (Status) that does not speak of it
	Broken             // 200 with an error, or with no answer, inside
	Truncated          // cut after the first byte reached the client
	Canceled           // the client went away
	Classes            // how many there are
)

var classNames = [...]string{
	"unknown", "ok", "client_error", "forbidden", "rate_limited", "quota", "auth_rejected", "server_error", "timeout",
	"local_error", "broken", "truncated", "canceled",
}

// String answers the name that metrics and logs use.
func (c Class) String() string {
	if int(c) >= len(classNames) {
		return classNames[Unknown]
	}
	return classNames[c]
}

// Next is what may follow an attempt as long as the client has seen nothing of it.
type Next uint8

// What may follow.
const (
	Stop     Next = iota // nothing: this answer is the client's
	OtherKey             // another key, at once and at no cost: the fault named this one
	Again                // another key, at the cost of one of the request's tries
	Once                 // as Again, but only once in a request: it may have been billed, or no rule knows it
)

// Verdict is the judgement of one attempt.
type Verdict struct {
	Class Class
	Next  Next
	// ModelOnly narrows what is held against the key to the model that was asked for.
	ModelOnly bool
	// RetryAfter is how long the upstream said to wait; zero: it did not say.
	RetryAfter time.Duration
	// Status is the upstream's status, or the one embedded in a 200; 0: none.
	Status int
	// Message is the upstream's own words, for a client whose fault it was. It is not redacted yet.
	Message string
	// Type, Code and Param are the upstream's own error type, code and parameter, if they are short plain words.
	Type, Code, Param string
}
