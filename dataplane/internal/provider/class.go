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
	LocalError         // not reached
	Broken             // 200 with an error, or with no answer, inside
	Truncated          // cut after the first byte reached the client
	Canceled           // the client went away
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

// Verdict is the judgement of one attempt.
type Verdict struct {
	Class Class
	// RetryAfter is how long the upstream said to wait; zero: it did not say.
	RetryAfter time.Duration
	// Status is the upstream's status, or the one embedded in a 200; 0: none.
	Status int
	// Message is the upstream's own words, for a client whose fault it was. It is not redacted yet.
	Message string
	// Code is the upstream's own error code, if it is a short plain word.
	Code string
}
