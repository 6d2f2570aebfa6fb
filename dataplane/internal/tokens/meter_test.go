package tokens

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return start.Add(time.Duration(seconds * float64(time.Second)))
}

// TestMeterInAnyMinute lets requests in at random moments, and judges by the moments alone.
func TestMeterInAnyMinute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		limit := 1 + r.Uint64N(40)
		m, now, let := &Meter{}, 0.0, []float64{}
		for range 400 {
			now += r.ExpFloat64() * 60 / float64(limit) / 3
			if a, _, denied := m.Admit(Limits{RequestsPerMinute: limit}, 0, after(now)); denied == nil {
				let = append(let, now)
				a.Settle(0, after(now))
			} else if a, _, again := m.Admit(Limits{RequestsPerMinute: limit}, 0, after(now).Add(denied.Wait)); again != nil {
				t.Fatalf("round %d: told to wait %s, and refused then", round, denied.Wait)
			} else {
				now += denied.Wait.Seconds()
				let = append(let, now)
				a.Settle(0, after(now))
			}
		}
		for i := range let {
			if n := i + int(limit); n < len(let) && let[n]-let[i] < 60 {
				t.Fatalf("round %d: %d requests in %.3f s", round, limit+1, let[n]-let[i])
			}
		}
	}
}

func TestMeterTellsTheLimit(t *testing.T) {
	limits := Limits{RequestsPerMinute: 3, TokensPerMinute: 1000, MaxConcurrent: 2}
	m := &Meter{}
	admit := func(at float64, estimate uint64) (Admission, *Denial) {
		t.Helper()
		a, _, d := m.Admit(limits, estimate, after(at))
		return a, d
	}
	first, d := admit(0, 100)
	if d != nil {
		t.Fatal(d)
	}
	second, _ := admit(0.5, 100)
	if _, d := admit(1, 1); d == nil || d.Limit != "requests at the same time" || d.Most != 2 || d.Wait != 0 {
		t.Errorf("a third at the same time: %+v", d)
	}
	second.Settle(700, after(1))
	if _, d := admit(2, 300); d == nil || d.Limit != "tokens per minute" || d.Wait != 59*time.Second {
		t.Errorf("more tokens than are left: %+v", d) // the first second's 200 are gone when second 61 begins
	}
	if _, d := admit(2, 1001); d == nil || d.Wait != 60*time.Second {
		t.Errorf("more tokens than any minute has wait for an empty one: %+v", d)
	}
	first.Refund(after(2)) // its request and its tokens are as if they had never been
	_, left, _ := m.Admit(limits, 0, after(2))
	if left.Requests != 1 || left.Tokens != 300 || left.RequestsIn != 61*time.Second || left.TokensIn != 60*time.Second {
		t.Errorf("left is %+v", left)
	}
}

func TestMeterGivesEverythingBack(t *testing.T) {
	m, limits := &Meter{}, Limits{RequestsPerMinute: 1 << 30, TokensPerMinute: 1 << 40, MaxConcurrent: 7}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 2000 {
				now := after(float64(n) / 10)
				a, _, denied := m.Admit(limits, uint64(n), now)
				if denied != nil {
					continue
				}
				if (n+i)%3 == 0 {
					a.Refund(now)
				} else {
					a.Settle(uint64(n/2), now)
				}
			}
		})
	}
	all.Wait()
	if m.running != 0 {
		t.Errorf("%d are running", m.running)
	}
	_, left, _ := m.Admit(limits, 0, after(1000))
	if left.Requests != limits.RequestsPerMinute-1 || left.Tokens != limits.TokensPerMinute {
		t.Errorf("after a quiet minute left is %+v", left)
	}
	Admission{}.Settle(5, start) // nobody counts it
	for range 1000 {
		a, _, _ := m.Admit(Limits{RequestsPerMinute: 1 << 30}, 0, after(2000))
		a.Settle(1<<63, after(2000)) // an upstream claims so
	}
	if _, _, denied := m.Admit(limits, 1, after(2000)); denied == nil || denied.Limit != "tokens per minute" {
		t.Errorf("absurd claims lift the limit: %+v", denied)
	}
}

func TestMeterStaysWithTheToken(t *testing.T) {
	d := NewDirectory()
	limited := func(n uint64, text string) *Token {
		tok := token(1, text)
		tok.Limits.RequestsPerMinute = n
		return tok
	}
	d.Put(limited(2, "a"))
	first, _ := d.Lookup(Digest("a"))
	first.Meter.Admit(first.Limits, 0, start)
	d.Put(limited(1, "b"))
	again, _ := d.Lookup(Digest("b"))
	if _, _, denied := again.Meter.Admit(again.Limits, 0, start); denied == nil {
		t.Error("a changed record has made the limit new")
	}
	d.Put(token(1, "b"))
	if unbound, _ := d.Lookup(Digest("b")); unbound.Meter != nil {
		t.Error("a token without limits is metered")
	}
}

func TestAllowsFrom(t *testing.T) {
	tok := &Token{AllowedIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}}
	for _, row := range []struct {
		why, addr string
		want      error
	}{
		{"one of the range", "10.1.2.3", nil},
		{"one of it as IPv6 writes it", "::ffff:10.1.2.3", nil},
		{"one of the other range, with a zone", "2001:db8::1%eth0", nil},
		{"one beside it", "11.0.0.1", ErrNotAddress},
		{"another IPv6", "2001:db9::1", ErrNotAddress},
	} {
		if got := tok.AllowsFrom(netip.MustParseAddr(row.addr)); got != row.want { //nolint:errorlint // it is bare
			t.Errorf("%s: got %v, want %v", row.why, got, row.want)
		}
	}
	if tok.AllowsFrom(netip.Addr{}) == nil {
		t.Error("an address that is not known is allowed")
	}
	if (&Token{}).AllowsFrom(netip.Addr{}) != nil {
		t.Error("a token without ranges is bound to some")
	}
}

func BenchmarkMeter(b *testing.B) {
	m, l := &Meter{}, Limits{RequestsPerMinute: 1 << 40, TokensPerMinute: 1 << 40, MaxConcurrent: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		a, _, _ := m.Admit(l, 100, time.Now())
		a.Settle(200, time.Now())
	}
}
