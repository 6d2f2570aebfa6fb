package origin

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var stranger = netip.MustParseAddr("192.0.2.1")

// answers has an address fail so often at once, and tells after what time each was answered, or "refused".
func answers(f *Failures, addr netip.Addr, times int) map[string]int {
	got := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for range times {
		wg.Go(func() {
			what := "refused"
			if f.Answer(context.Background(), addr) == 0 {
				what = time.Since(start).String()
			}
			mu.Lock()
			defer mu.Unlock()
			got[what]++
		})
		synctest.Wait()
	}
	wg.Wait()
	return got
}

func TestFailuresBeyondTenAMinuteAreAnsweredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(time.Now, 100)
		want := map[string]int{"0s": 10, "6s": 1, "12s": 1, "18s": 1, "24s": 1, "30s": 1, "refused": 5}
		if got := answers(f, stranger, 20); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if f.Held() != 0 {
			t.Errorf("%d are still held back", f.Held())
		}
		if got := f.Answer(t.Context(), stranger); got != 0 { // 30 s have been made good: this one waits for 6 s
			t.Errorf("told to stay away for %v after the wait", got)
		}
		time.Sleep(100 * time.Second)
		if got := answers(f, stranger, 10); got["0s"] != 10 {
			t.Errorf("long after: %v", got)
		}
	})
}

func TestEachAddressIsCountedByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(time.Now, 0)
		for _, row := range []struct {
			addr string
			want int
			why  string
		}{
			{"192.0.2.1", 10, "an address"},
			{"::ffff:192.0.2.1", 0, "the same one written as v6"},
			{"192.0.2.2", 10, "another one"},
			{"2001:db8::1", 10, "a v6 address"},
			{"2001:db8::2", 0, "one of the same /64"},
			{"2001:db8:0:1::1", 10, "one of another"},
		} {
			if got := answers(f, netip.MustParseAddr(row.addr), 15); got["0s"] != row.want || got["refused"] != 15-row.want {
				t.Errorf("%s: %v", row.why, got)
			}
		}
	})
}

func TestWhoIsToldToStayAwayIsToldForHowLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(time.Now, 0)
		answers(f, stranger, 10)
		if got := f.Answer(t.Context(), stranger); got != 6*time.Second {
			t.Errorf("told %v", got)
		}
	})
}

func TestOnlySoManyAreHeldBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(time.Now, 7)
		var wg sync.WaitGroup
		refused := 0
		for n := range 10 {
			addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})
			answers(f, addr, 10)
			wg.Go(func() { f.Answer(t.Context(), addr) })
			synctest.Wait()
			if n < 7 && f.Held() != n+1 || n >= 7 && f.Held() != 7 {
				t.Errorf("%d are held back after %d", f.Held(), n+1)
			}
			if n >= 7 {
				refused++
			}
		}
		wg.Wait()
		if f.Held() != 0 || refused != 3 {
			t.Errorf("%d held, %d refused", f.Held(), refused)
		}
	})
}

func TestTheWaitEndsWithTheRequestOrTheProcess(t *testing.T) {
	for _, row := range []struct {
		why string
		end func(f *Failures, cancel func())
	}{
		{"the client leaves", func(_ *Failures, cancel func()) { cancel() }},
		{"the process ends", func(f *Failures, _ func()) { f.Stop(); f.Stop() }},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := NewFailures(time.Now, 7)
			answers(f, stranger, 10)
			ctx, cancel := context.WithCancel(t.Context())
			start := time.Now()
			done := make(chan time.Duration)
			go func() { done <- f.Answer(ctx, stranger) }()
			time.Sleep(time.Second)
			row.end(f, cancel)
			if stayAway := <-done; stayAway != 0 || time.Since(start) != time.Second {
				t.Errorf("%s: told %v after %v", row.why, stayAway, time.Since(start))
			}
			cancel()
		})
	}
}

func address(i int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24+uint32(i))
	return netip.AddrFrom4(b)
}

func TestAFloodOfAddressesTakesBoundedMemoryAndIsSlowedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := NewFailures(time.Now, 0)
		refused, entries := 0, func() (n int) {
			for i := range f.shards {
				n += len(f.shards[i].paid)
			}
			return n
		}
		for i := range 200_000 {
			if f.Answer(t.Context(), address(i)) > 0 {
				refused++
			}
		}
		if n := entries(); n > shardCount*(shardEntries+1) {
			t.Errorf("%d addresses are remembered", n)
		}
		if refused < 100_000 {
			t.Errorf("%d of the addresses beyond the bound share a count", refused)
		}
		time.Sleep(time.Hour)
		for i := range 1000 {
			if f.Answer(t.Context(), address(1<<20+i)) > 0 {
				t.Fatal("old failures are never forgotten")
			}
		}
		if n := entries(); n > shardCount*shardEntries {
			t.Errorf("%d addresses are remembered", n)
		}
	})
}

func BenchmarkAFloodOfAddresses(b *testing.B) {
	f := NewFailures(time.Now, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		f.Answer(b.Context(), address(i))
	}
}
