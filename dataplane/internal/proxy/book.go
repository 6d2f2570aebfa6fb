package proxy

import (
	"ollama-api-pool/dataplane/internal/leases"
	"ollama-api-pool/dataplane/internal/provider"
	"ollama-api-pool/dataplane/internal/tokens"
)

// Book is what the proxy asks of leases.Book.
type Book interface {
	directory
	prober
	Borrow(leases.Want) (leases.Loan, error)
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
	Arrive()
	Served(leases.Request)
}

// lender is a Book whose loans know where they go back to. Only tests have another than bookLender.
type lender interface {
	directory
	lend(providerID, model string, tried []leases.KeyID) (loan, error)
}

// loan is a borrowed key. Exactly one of Settle and Return ends it.
type loan interface {
	KeyID() leases.KeyID
	Secret() leases.Secret
	Usable() bool
	Settle(leases.Attempt)
	Return()
}

type bookLender struct{ Book }

func (b bookLender) lend(providerID, model string, tried []leases.KeyID) (loan, error) {
	l, err := b.Borrow(leases.Want{Provider: providerID, Model: model, Tried: tried})
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
