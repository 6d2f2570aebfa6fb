package probe

import (
	"time"

	"ollama-api-pool/controlplane/internal/pool"
)

// Finding is what an answer says of the key.
type Finding uint8

// The findings.
const (
	Unknown  Finding = iota // nothing was learnt
	Good                    // the upstream accepts it
	Limited                 // the upstream knows it, but a limit or quota is in its way now
	Rejected                // the upstream does not accept it
)

// Reason is why a finding is not Good, as operators see it. The set is closed.
type Reason string

// The reasons.
const (
	AuthRejected   Reason = "auth_rejected"
	QuotaExhausted Reason = "quota_exhausted"
	RateLimited    Reason = "rate_limited"
	ServerError    Reason = "server_error"
	Timeout        Reason = "timeout"
	BrokenAnswer   Reason = "broken_answer"
	Unreachable    Reason = "unreachable"
	Misconfigured  Reason = "misconfigured"
	Forbidden      Reason = "forbidden"
)

var messages = map[Reason]string{
	AuthRejected:   "the upstream does not accept the key",
	QuotaExhausted: "the quota or credit of the key or its account is used up",
	RateLimited:    "the upstream asks to slow down",
	ServerError:    "the upstream failed; this says nothing about the key",
	Timeout:        "the upstream did not answer in time; this says nothing about the key",
	BrokenAnswer:   "the upstream's answer makes no sense; this says nothing about the key",
	Unreachable:    "the upstream was not reached; this says nothing about the key",
	Misconfigured:  "there is no API at the provider's address: check its baseUrl and allowPrivateAddresses",
	Forbidden:      "the upstream forbids it for a reason that is not the key's",
}

// Message tells the reason in words.
func (r Reason) Message() string { return messages[r] }

// Answer is what an upstream makes of a key. Nothing of what it said is in it.
type Answer struct {
	Finding    Finding
	Reason     Reason        // empty if Good
	RetryAfter time.Duration // of Limited: what the upstream said; 0: nothing
}

// Signal answers what the answer means for the key's health; false: nothing.
func (a Answer) Signal() (s pool.Signal, ok bool) {
	s.RetryAfter = a.RetryAfter
	switch a.Finding {
	case Good:
		s.Reason = pool.Recovered
	case Rejected:
		s.Reason = pool.AuthRejected
	case Limited:
		if s.Reason = pool.RateLimited; a.Reason == QuotaExhausted {
			s.Reason = pool.QuotaExhausted
		}
	case Unknown:
		return pool.Signal{}, false
	}
	return s, true
}
