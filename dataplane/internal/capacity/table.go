package capacity

import (
	"sync"
	"time"
)

// Config makes a Table.
type Config struct {
	// Now is the clock that leases are counted by. Required.
	Now func() time.Duration
	// Leased says whether the lease is in force at this moment of that clock; nil: always.
	Leased func(now time.Duration) bool
	// Changed is told of an account that has become busy or free, by whoever did it and who holds no lock here; nil: nobody is.
	Changed func(*Account)
	// WithoutRest gives permits back that have not rested, so that a share which grows elsewhere is full at once. It is the control of
	// the tests that judge limits: with it they must fail.
	WithoutRest bool
}

// Table is all accounts of the node. Grants may come before the record they are for.
type Table struct {
	cfg Config

	mu       sync.Mutex // guards what follows; taken before an account's
	accounts map[Name]*Account
	giving   map[*Account]struct{} // those with something to give back
	applied  uint64                // number of the last grant update of this session
	news     chan struct{}         // closed and replaced with each

	providers sync.Map // provider → *asked
}

// NewTable makes an empty table.
func NewTable(c Config) *Table {
	return &Table{cfg: c, accounts: map[Name]*Account{}, giving: map[*Account]struct{}{}, news: make(chan struct{})}
}

func (t *Table) moment() (now time.Duration, leased bool) {
	now = t.cfg.Now()
	return now, t.cfg.Leased == nil || t.cfg.Leased(now)
}

func (t *Table) changed(a *Account) {
	if t.cfg.Changed != nil {
		t.cfg.Changed(a)
	}
}

// Account answers the account of this name with these limits: the one that was there, or a new one. Whoever asks looks for
// itself whether that has made it busy or free.
func (t *Table) Account(n Name, l Limits) *Account {
	t.mu.Lock()
	a := t.accountLocked(n)
	t.mu.Unlock()
	a.limit(l)
	return a
}

func (t *Table) accountLocked(n Name) *Account {
	a := t.accounts[n]
	if a == nil {
		a = &Account{name: n, table: t, start: t.cfg.Now()}
		t.accounts[n] = a
	}
	return a
}

// Keep forgets the accounts that keep does not want. Requests under way are counted out of theirs all the same.
func (t *Table) Keep(keep func(Name) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, a := range t.accounts {
		if !keep(n) {
			delete(t.accounts, n)
			delete(t.giving, a)
		}
	}
}

// Sweep forgets the accounts that keep does not want and of which nothing is held any more.
func (t *Table) Sweep(keep func(Name) bool) {
	now := t.cfg.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, a := range t.accounts {
		if !keep(n) && a.idle(now) {
			delete(t.accounts, n)
			delete(t.giving, a)
		}
	}
}

func (a *Account) idle(now time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.advanceLocked(now)
	for d := Requests; d < dimensions; d++ {
		if a.parts[d].holding() > 0 {
			return false
		}
	}
	return true
}

// Refresh looks at all accounts again: the lease has ended or has come back.
func (t *Table) Refresh() {
	now, leased := t.moment()
	for _, a := range t.all() {
		a.mu.Lock()
		a.advanceLocked(now)
		changed := a.noteLocked(now, leased)
		a.mu.Unlock()
		a.tell(changed)
	}
}

func (t *Table) all() []*Account {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*Account, 0, len(t.accounts))
	for _, a := range t.accounts {
		list = append(list, a)
	}
	return list
}

// Alone makes an account that has all of its limits to itself, for tests of what uses one.
func Alone(now func() time.Duration, l Limits) *Account {
	t := NewTable(Config{Now: now})
	a := t.Account(Name{Token, 1}, l)
	var all []Grant
	for d := Requests; d < dimensions; d++ {
		if l.Most[d] > 0 {
			all = append(all, Grant{Name: a.name, Dimension: d, Amount: l.Most[d], Floor: l.Most[d], Window: 1})
		}
	}
	t.Apply(1, all)
	return a
}
