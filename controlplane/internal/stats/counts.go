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
	AttemptFirstByteMsSum  // a sum of milliseconds: from here on nothing counts attempts
	AttemptInputTokens     // as the upstream or an estimate has it
	AttemptOutputTokens    // alike
	AttemptEstimatedTokens // of both, those that are estimates
	AttemptUnknown         // attempts of a process that was killed before it learnt how they ended
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
	RequestInputTokens     // as the upstream or an estimate has it: from here on nothing adds to the number of requests
	RequestOutputTokens    // alike
	RequestEstimatedTokens // of both, those that are estimates
	RequestFromCache       // requests that were answered from what was kept; they are among RequestOK
	RequestUnknown         // requests of a process that was killed before it learnt how they ended
	requestLen
)

// AttemptCounts counts what was sent upstream, by how it ended.
type AttemptCounts [attemptLen]uint64

// Total answers how many attempts there were.
func (c AttemptCounts) Total() uint64 { return sum(c[:AttemptFirstByteMsSum]) + c[AttemptUnknown] }

// Success answers how many were answered in full.
func (c AttemptCounts) Success() uint64 { return c[AttemptOK] }

// Failure answers how many failed by the key's or the upstream's fault. What the client asked wrongly or gave up, what was
// forbidden for its content, and what nobody knows the end of, is neither success nor failure.
func (c AttemptCounts) Failure() uint64 {
	return c[AttemptRateLimited] + c[AttemptQuota] + c[AttemptAuthError] + c[AttemptServerError] + c[AttemptTimeout] +
		c[AttemptLocalError] + c[AttemptTruncated] + c[AttemptBroken]
}

// RequestCounts counts what clients asked, by what they saw.
type RequestCounts [requestLen]uint64

// Total answers how many requests there were.
func (c RequestCounts) Total() uint64 { return sum(c[:RequestInputTokens]) + c[RequestUnknown] }

// Success answers how many were answered in full.
func (c RequestCounts) Success() uint64 { return c[RequestOK] }

// Failure answers how many were not answered in full by our or the upstream's fault.
func (c RequestCounts) Failure() uint64 {
	return c[RequestLimited] + c[RequestUnavailable] + c[RequestUpstreamError] + c[RequestTruncated]
}

// Usage is how many tokens went in and came out, and how many of both are estimates.
type Usage struct{ Input, Output, Estimated uint64 }

// Usage answers what the attempts took.
func (c AttemptCounts) Usage() Usage {
	return Usage{c[AttemptInputTokens], c[AttemptOutputTokens], c[AttemptEstimatedTokens]}
}

// Usage answers what the requests took: that of the attempts whose answers clients saw.
func (c RequestCounts) Usage() Usage {
	return Usage{c[RequestInputTokens], c[RequestOutputTokens], c[RequestEstimatedTokens]}
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
