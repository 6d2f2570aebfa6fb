package capacity

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// clock is set by the test.
type clock struct {
	mu  sync.Mutex
	now time.Duration
}

func (c *clock) read() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(seconds float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = time.Duration(seconds * float64(time.Second))
}

// alone is a token that has its limits to itself.
func alone(c *clock, most Amounts) *Account { return Alone(c.read, Limits{Most: most}) }

// TestInAnyMinute lets requests in at random moments, and judges by the moments alone.
func TestInAnyMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		limit := 1 + r.Uint64N(40)
		c, let, now := &clock{}, []float64{}, 0.0
		a := alone(c, Amounts{Requests: limit})
		for range 400 {
			now += r.ExpFloat64() * 60 / float64(limit) / 3
			c.set(now)
			in, _, denied := a.Admit(0)
			if denied != nil {
				now += denied.Wait.Seconds()
				c.set(now)
				if in, _, denied = a.Admit(0); denied != nil {
					t.Fatalf("round %d: told to wait, and refused then: %+v", round, denied)
				}
			}
			let = append(let, now)
			in.Settle(0)
		}
		for i := range let {
			if n := i + int(limit); n < len(let) && let[n]-let[i] < 60 {
				t.Fatalf("round %d: %d requests in %.3f s", round, limit+1, let[n]-let[i])
			}
		}
	}
}

func TestDenialNamesTheLimit(t *testing.T) {
	c := &clock{}
	a := alone(c, Amounts{Requests: 3, Tokens: 1000, Concurrency: 2})
	first, _, _ := a.Admit(100)
	c.set(0.5)
	second, _, _ := a.Admit(100)
	c.set(1)
	if _, _, d := a.Admit(1); d == nil || d.Limit != Concurrency || d.Most != 2 || d.Wait != 0 || d.Short {
		t.Errorf("a third at the same time: %+v", d)
	}
	if a.Busy(c.read()) != Never {
		t.Error("all slots are taken, and it is not busy")
	}
	second.Settle(700)
	if a.Busy(c.read()) != 0 {
		t.Error("a slot is free, and it is busy")
	}
	c.set(2)
	if _, _, d := a.Admit(300); d == nil || d.Limit != Tokens || d.Wait != 59*time.Second {
		t.Errorf("more tokens than are left: %+v", d) // the first second's 200 are gone when second 61 begins
	}
	first.Refund() // its request and its tokens are as if they had never been
	_, left, _ := a.Admit(0)
	if left.Requests != 1 || left.Tokens != 300 {
		t.Errorf("left is %+v", left)
	}
}

func TestEverythingIsGivenBack(t *testing.T) {
	c := &clock{}
	a := alone(c, Amounts{Requests: 1 << 30, Tokens: 1 << 39, Concurrency: 7, RequestsDay: 1 << 30, TokensMonth: 1 << 39})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 2000 {
				in, _, denied := a.Admit(uint64(n))
				if denied != nil {
					continue
				}
				if (n+i)%3 == 0 {
					in.Refund()
				} else {
					in.Settle(uint64(n / 2))
				}
			}
		})
	}
	all.Wait()
	if a.parts[Concurrency].taken != 0 {
		t.Errorf("%d slots are taken", a.parts[Concurrency].taken)
	}
	c.set(1000)
	if _, left, _ := a.Admit(0); left.Requests != 1<<30-1 || left.Tokens != 1<<39 {
		t.Errorf("after a quiet minute left is %+v", left)
	}
	Admission{}.Settle(5) // nobody counts it
	for range 3 {
		in, _, _ := a.Admit(0)
		in.Settle(1 << 63) // an upstream claims so
	}
	if _, _, denied := a.Admit(1); denied == nil || denied.Limit != Tokens {
		t.Errorf("absurd claims lift the limit: %+v", denied)
	}
}

func TestABudgetIsSpentOnce(t *testing.T) {
	c := &clock{}
	a := alone(c, Amounts{RequestsDay: 3, TokensDay: 100})
	for range 2 {
		in, _, _ := a.Admit(10)
		in.Settle(20)
	}
	in, _, _ := a.Admit(10)
	in.Refund()
	c.set(1e6) // it is the control plane that says when the day is over
	in, _, denied := a.Admit(60)
	if denied != nil {
		t.Fatal(denied)
	}
	if _, _, d := a.Admit(0); d == nil || d.Limit != RequestsDay || d.Wait != 0 {
		t.Errorf("a fourth: %+v", d)
	}
	a.table.Apply(2, []Grant{{Name: a.name, Dimension: RequestsDay, Amount: 1, Window: 2}})
	in.Settle(60) // of the day before
	if _, _, d := a.Admit(1); d == nil || d.Limit != TokensDay {
		t.Errorf("the tokens' day is not over: %+v", d)
	}
	a.table.Apply(3, []Grant{{Name: a.name, Dimension: TokensDay, Amount: 5, Window: 2}})
	if _, _, d := a.Admit(5); d != nil {
		t.Errorf("the first of a new day: %+v", d)
	}
}

// TestAShareThatShrinks gives back permits as they have rested, slots as their requests end, and budgets at once.
func TestAShareThatShrinks(t *testing.T) {
	c := &clock{}
	a := alone(c, Amounts{Requests: 10, Concurrency: 4, RequestsDay: 100})
	var under []Admission
	for i := range 3 {
		c.set(float64(i * 10))
		in, _, _ := a.Admit(0)
		under = append(under, in)
	}
	shrink := func(seq, amount uint64) {
		a.table.Apply(seq, []Grant{
			{Name: a.name, Dimension: Requests, Amount: amount},
			{Name: a.name, Dimension: Concurrency, Amount: amount},
			{Name: a.name, Dimension: RequestsDay, Amount: amount, Window: 1},
		})
	}
	report := func(seconds float64) map[Dimension]uint64 {
		c.set(seconds)
		_, held := a.table.Report()
		m := map[Dimension]uint64{}
		for _, h := range held {
			m[h.Dimension] = h.Amount
		}
		return m
	}
	shrink(2, 1)
	if got := report(25); len(got) != 3 || got[Requests] != 3 || got[Concurrency] != 3 || got[RequestsDay] != 3 {
		t.Errorf("at once it says %v", got)
	}
	if got := report(26); len(got) != 0 {
		t.Errorf("nothing has changed, and it says %v", got)
	}
	under[0].Settle(0)
	if got := report(62); got[Concurrency] != 2 || got[Requests] != 2 {
		t.Errorf("when one has ended and the first has rested it says %v", got)
	}
	if _, _, d := a.Admit(0); d == nil {
		t.Error("a permit that is to be given back is used")
	}
	under[1].Settle(0)
	under[2].Settle(0)
	if got := report(90); got[Concurrency] != 1 || got[Requests] != 1 {
		t.Errorf("when all have ended and rested it says %v", got)
	}
	shrink(3, 0)
	if got := a.table.Holdings(); len(got) != 1 || got[0].Dimension != RequestsDay || got[0].Amount != 3 {
		t.Errorf("what is left is what was spent of the budget: %v", got)
	}
}

func TestWithoutALease(t *testing.T) {
	for _, hard := range []bool{true, false} {
		c, leased := &clock{}, true
		tb := NewTable(Config{Now: c.read, Leased: func(time.Duration) bool { return leased }})
		a := tb.Account(Name{Key, 7}, Limits{Most: Amounts{Requests: 10}, Hard: hard})
		if _, _, d := a.Admit(0); d == nil {
			t.Error("without a grant it may be used")
		}
		tb.Apply(1, []Grant{{Name: a.name, Dimension: Requests, Amount: 4, Floor: 1}})
		leased = false
		let := 0
		for range 5 {
			if _, _, d := a.Admit(0); d == nil {
				let++
			}
		}
		if want := map[bool]int{true: 1, false: 4}[hard]; let != want {
			t.Errorf("hard %v: %d of a share of 4 with a floor of 1", hard, let)
		}
		leased = true
		tb.Refresh()
		if busy := a.Busy(c.read()) != 0; busy == hard {
			t.Errorf("hard %v: busy %v when the lease is back", hard, busy)
		}
	}
}

// What has gone is forgotten when nothing of it is held any more, and not before: its permits rest on.
func TestWhatHasGoneIsForgottenWhenItHasRested(t *testing.T) {
	c := &clock{}
	a := alone(c, Amounts{Requests: 2, Concurrency: 2})
	in, _, _ := a.Admit(0)
	gone := func(Name) bool { return false }
	a.table.Apply(2, []Grant{{Name: a.name, Dimension: Requests}, {Name: a.name, Dimension: Concurrency}})
	for _, step := range []struct {
		at     float64
		before func()
		left   int
	}{{1, func() {}, 1}, {30, func() { in.Settle(0) }, 1}, {70, func() {}, 0}} {
		c.set(step.at)
		step.before()
		if a.table.Sweep(gone); len(a.table.all()) != step.left {
			t.Errorf("after %v s %d accounts are left, want %d", step.at, len(a.table.all()), step.left)
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	start := time.Now()
	a := Alone(func() time.Duration { return time.Since(start) }, Limits{Most: Amounts{
		Requests: mostUsed, Tokens: mostUsed, Concurrency: mostUsed, RequestsDay: mostUsed,
	}})
	b.ReportAllocs()
	for b.Loop() {
		in, _, _ := a.Admit(100)
		in.Settle(200)
	}
}
