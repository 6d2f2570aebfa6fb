// Package capacity holds this node's shares of limits: of upstream keys, of accounts of keys, and of client tokens.
//
// A limit belongs to the fleet, and the control plane deals it out in whole permits. A permit that is used rests for a minute
// where it was used before it may be used again, here or elsewhere; so no minute sees more requests than there are permits,
// whichever node they go to and however often shares move. That is the whole of the proof, and why nothing here has a burst, a
// refill rate or a correction.
//
//   - A share that grows may be used at once: what comes was resting long enough before it was given away.
//   - A share that shrinks is given back as it comes free: permits when they have rested, slots when their requests end, what is
//     left of a budget at once. Holding says how much that still is.
//   - A share lives as long as the lease. After that a hard limit may be used up to the floor of its share; a soft one up to the
//     last share; a budget up to what is left of what was given, because nobody gives that to another node.
//
// Nothing here waits, and nothing allocates for a request. All times are of the clock that leases are counted by.
package capacity

import "time"

// Kind is whose limit it is. The numbers are those of the wire.
type Kind uint8

// The kinds.
const (
	Key   Kind = 1
	Token Kind = 2
	Group Kind = 4
)

// Name names an Account.
type Name struct {
	Kind Kind
	ID   uint64
}

// Dimension is what a limit counts. The numbers are those of the wire.
type Dimension uint8

// The dimensions. Minutes are any sixty seconds; days and months are those of the control plane.
const (
	Requests      Dimension = 1
	Tokens        Dimension = 2 // of input and output, as in the others of tokens
	Concurrency   Dimension = 3
	RequestsDay   Dimension = 4
	TokensDay     Dimension = 5
	RequestsMonth Dimension = 6
	TokensMonth   Dimension = 7
	dimensions              = 8
)

var names = [dimensions]string{
	Requests: "requests per minute", Tokens: "tokens per minute", Concurrency: "requests at the same time",
	RequestsDay: "requests per day", TokensDay: "tokens per day", RequestsMonth: "requests per month", TokensMonth: "tokens per month",
}

// String says it in words that clients may read.
func (d Dimension) String() string { return names[d] }

// Budget says whether the dimension is used up until its day or month is over.
func (d Dimension) Budget() bool { return d >= RequestsDay }

func (d Dimension) ofTokens() bool { return d == Tokens || d == TokensDay || d == TokensMonth }

// Amounts is one number for each dimension, by its number.
type Amounts [dimensions]uint64

// Limits is what the whole fleet may use; 0: no bound.
type Limits struct {
	Most Amounts
	Hard bool // see the package
}

// IsZero says whether nothing is bounded.
func (l Limits) IsZero() bool { return l.Most == Amounts{} }

// OfTokens says whether tokens are bounded.
func (l Limits) OfTokens() bool { return l.Most[Tokens]|l.Most[TokensDay]|l.Most[TokensMonth] != 0 }

// Allowance is what is left of this node's shares, as clients are told.
type Allowance struct {
	Requests, Tokens     uint64        // left in this minute
	RequestsIn, TokensIn time.Duration // until everything is left again
}

// Denial tells which limit a request would exceed.
type Denial struct {
	Limit Dimension
	Most  uint64        // what it allows to the fleet
	Wait  time.Duration // until this node's share allows it; 0: not known
	Short bool          // this node has a part of it only: another may have some to give
}

// Never is when something is free that does not come free by itself.
const Never = time.Duration(1<<63 - 1)
