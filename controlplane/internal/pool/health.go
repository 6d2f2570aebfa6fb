package pool

import "time"

// Phase is where a key is in its life, apart from what operators decide. The numbers are stored.
type Phase uint8

// A key's phases.
const (
	Healthy  Phase = 0 // in use
	Watched  Phase = 1 // in use, with failures in a row; its next success is to be told at once
	Cooling  Phase = 2 // waits for a limit or quota to pass; ends by itself
	Suspect  Phase = 3 // rejected once, out of use until a probe confirms or refutes it
	AutoOff  Phase = 4 // out of use until a probe after `Until` succeeds
	maxPhase       = AutoOff
)

// Reason is why a key is out of use, or what a signal reports. The numbers are stored, and are those of the wire.
type Reason uint8

// The reasons.
const (
	NoReason       Reason = 0
	AuthRejected   Reason = 1
	QuotaExhausted Reason = 2
	RateLimited    Reason = 3
	ServerError    Reason = 4
	LocalError     Reason = 5
	Recovered      Reason = 6
	Admin          Reason = 7
	Timeout        Reason = 8
	BrokenAnswer   Reason = 9
	maxReason             = BrokenAnswer
)

var reasonNames = [...]string{
	NoReason: "", AuthRejected: "auth_rejected", QuotaExhausted: "quota_exhausted", RateLimited: "rate_limited",
	ServerError: "server_error", LocalError: "local_error", Recovered: "recovered", Admin: "admin", Timeout: "timeout",
	BrokenAnswer: "broken_answer",
}

// String answers the name that REST and metrics use.
func (r Reason) String() string {
	if r > maxReason {
		return "unknown"
	}
	return reasonNames[r]
}

// soft says whether a failure counts towards being put out only in a row.
func (r Reason) soft() bool { return r == ServerError || r == Timeout || r == BrokenAnswer }

// Health is what traffic and probes hold against a key. It is void for another generation than the key's.
type Health struct {
	Key        KeyID
	Generation uint64
	Phase      Phase
	Reason     Reason
	Until      time.Time // end of Cooling; time of the next probe in Suspect and AutoOff
	Strikes    int       // failures in a row by the key's own fault
	Ejections  int       // how often in a row it was put out or cooled without a hint; lengthens the next time
}

// Usable says whether nodes may send requests with the key.
func (h Health) Usable() bool { return h.Phase == Healthy || h.Phase == Watched }

// Status is what operators see: phase, operator's will and expiry in one word.
type Status string

// The statuses, as in REST.
const (
	StatusActive       Status = "active"
	StatusCooling      Status = "cooling"
	StatusSuspect      Status = "suspect"
	StatusAutoDisabled Status = "auto_disabled"
	StatusDisabled     Status = "disabled"
	StatusExpired      Status = "expired"
)

// StatusAt sums up a key: its status, the reason's name, and when the status may end by itself (zero: it will not).
func StatusAt(k Key, h Health, now time.Time) (Status, string, time.Time) {
	switch {
	case k.ExpiredAt(now):
		return StatusExpired, "expired", time.Time{}
	case k.DisabledAt(now):
		return StatusDisabled, Admin.String(), k.DisabledUntil
	case h.Generation != k.Generation || h.Usable():
		return StatusActive, "", time.Time{}
	case h.Phase == Cooling:
		return StatusCooling, h.Reason.String(), h.Until
	case h.Phase == Suspect:
		return StatusSuspect, h.Reason.String(), h.Until
	default:
		return StatusAutoDisabled, h.Reason.String(), h.Until
	}
}

// Statuses answers all of them.
func Statuses() []Status {
	return []Status{StatusActive, StatusCooling, StatusSuspect, StatusAutoDisabled, StatusDisabled, StatusExpired}
}
