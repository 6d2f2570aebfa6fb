package stats

// Where each way of ending stands in AttemptCounts. The numbers are stored: new ones go to the end.
const (
	AttemptOK = iota
	AttemptClientError
	AttemptRateLimited
	AttemptQuota
	AttemptAuthError
	AttemptServerError
	AttemptTimeout
	AttemptLocalError
	AttemptCanceled
	AttemptTruncated
	AttemptBroken
	AttemptForbidden
	AttemptFirstByteMsSum // a sum of milliseconds, no count
	attemptLen
)

// Where each way of ending stands in RequestCounts. The numbers are stored: new ones go to the end.
const (
	RequestOK = iota
	RequestClientError
	RequestLimited
	RequestUnavailable
	RequestUpstreamError
	RequestTruncated
	RequestCanceled
	requestLen
)

// AttemptCounts counts what was sent upstream, by how it ended.
type AttemptCounts [attemptLen]uint64

// Total answers how many attempts there were.
func (c AttemptCounts) Total() uint64 { return sum(c[:AttemptFirstByteMsSum]) }

// Success answers how many were answered in full.
func (c AttemptCounts) Success() uint64 { return c[AttemptOK] }

// Failure answers how many failed by the key's or the upstream's fault. What the client asked wrongly or gave up, and what
// was forbidden for its content, is neither success nor failure.
func (c AttemptCounts) Failure() uint64 {
	return c[AttemptRateLimited] + c[AttemptQuota] + c[AttemptAuthError] + c[AttemptServerError] + c[AttemptTimeout] +
		c[AttemptLocalError] + c[AttemptTruncated] + c[AttemptBroken]
}

// RequestCounts counts what clients asked, by what they saw.
type RequestCounts [requestLen]uint64

// Total answers how many requests there were.
func (c RequestCounts) Total() uint64 { return sum(c[:]) }

// Success answers how many were answered in full.
func (c RequestCounts) Success() uint64 { return c[RequestOK] }

// Failure answers how many were not answered in full by our or the upstream's fault.
func (c RequestCounts) Failure() uint64 {
	return c[RequestLimited] + c[RequestUnavailable] + c[RequestUpstreamError] + c[RequestTruncated]
}

func sum(counts []uint64) uint64 {
	var n uint64
	for _, c := range counts {
		n += c
	}
	return n
}

// add adds b to a, which is as long or longer.
func add(a, b []uint64) {
	for i, n := range b {
		a[i] += n
	}
}
