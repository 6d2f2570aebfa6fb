package proxy

import (
	"context"
	"time"

	"ollama-api-pool/dataplane/internal/capacity"
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// Book is what the proxy asks of leases.Book.
type Book interface {
	directory
	prober
	Borrow(leases.Want) (leases.Loan, error)
	Wait(ctx context.Context, w leases.Want, patience time.Duration) (leases.Loan, error)
	Settle(leases.Loan, leases.Attempt)
	Return(leases.Loan)
}

var _ Book = (*leases.Book)(nil)

// prober is the part of a Book that asks for probes; each is answered once.
type prober interface {
	Probes() <-chan leases.Probe
	Probed(leases.Loan, provider.Verdict)
}

// directory is the part of a Book that does not speak of loans.
type directory interface {
	Ready() error
	Provider(id string) (*provider.Provider, bool)
	Token(hash [32]byte) (*tokens.Token, error)
	Acquire(ctx context.Context, of capacity.Name, tokens uint64) bool
	Arrive(token uint64) (entry uint64)
	Served(leases.Request)
}

// lender is a Book whose loans know where they go back to. Only tests have another than bookLender.
type lender interface {
	directory
	// lend waits no longer than patience for a key to be free.
	lend(ctx context.Context, w leases.Want, patience time.Duration) (loan, error)
}

// loan is a borrowed key. Exactly one of Settle and Return ends it. While it is watched it can be cut off.
type loan interface {
	KeyID() leases.KeyID
	Secret() leases.Secret
	Usable() bool
	Watch(c *leases.Cut, end context.CancelCauseFunc) bool
	Unwatch(*leases.Cut)
	Settle(leases.Attempt)
	Return()
}

type bookLender struct{ Book }

func (b bookLender) lend(ctx context.Context, w leases.Want, patience time.Duration) (loan, error) {
	var l leases.Loan
	var err error
	if patience > 0 {
		l, err = b.Wait(ctx, w, patience)
	} else {
		l, err = b.Borrow(w)
	}
	if err != nil {
		return nil, err
	}
	return bookLoan{l, b.Book}, nil
}

type bookLoan struct {
	leases.Loan
	book Book
}

func (l bookLoan) Settle(a leases.Attempt) { l.book.Settle(l.Loan, a) }
func (l bookLoan) Return()                 { l.book.Return(l.Loan) }
