package leases

import (
	"fmt"
	"testing"
	"time"

	"ollama-api-pool/dataplane/internal/provider"
	leasev1 "ollama-api-pool/gen/pool/lease/v1"
)

// setting is a pool of n keys in which something is the matter, and what is wanted of it.
type setting struct {
	name string
	n    int
	make func(tb testing.TB, n int) *desk
	want func(i int) Want
}

func plain(int) Want { return Want{Provider: "ollama", Model: "m"} }

// outBut puts all keys out but those that stay says.
func outBut(stay func(id, n int) bool, told func(id uint64) *leasev1.KeyHealth) func(testing.TB, int) *desk {
	return func(tb testing.TB, n int) *desk {
		d := newDesk(tb, someKeys(n, nil)...)
		var states []*leasev1.KeyHealth
		for id := 1; id <= n; id++ {
			if !stay(id, n) {
				states = append(states, told(uint64(id)))
			}
		}
		d.tell(states...)
		return d
	}
}

func someKeys(n int, spoil func(*leasev1.UpstreamKey)) []*leasev1.UpstreamKey {
	keys := make([]*leasev1.UpstreamKey, n)
	for i := range keys {
		keys[i] = key(uint64(i + 1))
		if spoil != nil {
			spoil(keys[i])
		}
	}
	return keys
}

func middle(id, n int) bool { return id == n/2+1 }

func settings(sizes ...int) []setting {
	rejected := func(id uint64) *leasev1.KeyHealth { return open(id, leasev1.Reason_REASON_AUTH_REJECTED, 0) }
	limited := func(id uint64) *leasev1.KeyHealth { return open(id, leasev1.Reason_REASON_RATE_LIMITED, time.Hour) }
	var all []setting
	for _, n := range sizes {
		all = append(
			all,
			setting{"all free", n, func(tb testing.TB, n int) *desk { return newDesk(tb, someKeys(n, nil)...) }, plain},
			setting{"half out", n, outBut(func(id, n int) bool { return id > n/2 }, rejected), plain},
			setting{"every other out", n, outBut(func(id, _ int) bool { return id%2 == 1 }, rejected), plain},
			setting{"all but one cooling", n, outBut(middle, limited), plain},
			setting{"all but one disabled", n, func(tb testing.TB, n int) *desk {
				return newDesk(tb, someKeys(n, func(k *leasev1.UpstreamKey) {
					if !middle(int(k.GetId()), n) {
						k.State = leasev1.AdminState_ADMIN_STATE_DISABLED
					}
				})...)
			}, plain},
			setting{"few serve the model", n, func(tb testing.TB, n int) *desk {
				return newDesk(tb, someKeys(n, func(k *leasev1.UpstreamKey) {
					if k.Models = []string{"llama*"}; k.GetId()%50 == 1 {
						k.Models = []string{"qwen*", "m*"}
					}
				})...)
			}, plain},
			setting{"models nobody has heard of", n, func(tb testing.TB, n int) *desk {
				return newDesk(tb, someKeys(n, func(k *leasev1.UpstreamKey) {
					if k.GetId()%2 == 0 {
						k.Models = []string{"llama*", "qwen*"}
					}
				})...)
			}, func(i int) Want { return Want{Provider: "ollama", Model: madeUp[i%len(madeUp)]} }},
			setting{"all but one barred for the model", n, func(tb testing.TB, n int) *desk {
				d := newDesk(tb, someKeys(n, nil)...)
				for id := 1; id <= n; id++ {
					if !middle(id, n) {
						d.settle(tb, KeyID(id), provider.Verdict{Class: provider.Forbidden, ModelOnly: true})
					}
				}
				return d
			}, plain},
			setting{"weights of 1 to 5", n, func(tb testing.TB, n int) *desk {
				return newDesk(tb, someKeys(n, func(k *leasev1.UpstreamKey) { k.Weight = uint32(k.GetId()%5 + 1) })...)
			}, plain},
			setting{"by affinity", n, func(tb testing.TB, n int) *desk { return newDesk(tb, someKeys(n, nil)...) }, func(i int) Want {
				return Want{Provider: "ollama", Model: "m", Affinity: uint64(i%1000)<<32 + 1}
			}},
			setting{"by affinity, half out", n, outBut(func(id, n int) bool { return id%2 == 1 }, rejected), func(i int) Want {
				return Want{Provider: "ollama", Model: "m", Affinity: uint64(i%1000)<<32 + 1}
			}},
		)
	}
	return all
}

var madeUp = func() []string {
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprintf("made-up-%d", i)
	}
	return names
}()

// BenchmarkBorrow is the choice of a key, and its return.
func BenchmarkBorrow(b *testing.B) {
	for _, s := range settings(1, 100, 100_000) {
		d := s.make(b, s.n)
		once := func(i int) {
			l, err := d.Borrow(s.want(i))
			if err != nil {
				b.Fatal(err)
			}
			d.Return(l)
		}
		for i := range 2 * s.n {
			once(i)
		}
		b.Run(fmt.Sprintf("%s/%d", s.name, s.n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				once(i)
			}
		})
		b.Run(fmt.Sprintf("%s/%d/parallel", s.name, s.n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					once(i)
				}
			})
		})
	}
}

// BenchmarkRequest is everything that a request asks of the book.
func BenchmarkRequest(b *testing.B) {
	ok := provider.Verdict{Class: provider.OK, Status: 200}
	for _, n := range []int{1, 100, 100_000} {
		d := newDesk(b, someKeys(n, nil)...)
		once := func(token uint64) {
			d.Arrive(1)
			l, err := d.Borrow(plain(0))
			if err != nil || !l.Usable() {
				b.Fatal(err)
			}
			d.Settle(l, Attempt{Model: "m", Verdict: ok, FirstByte: time.Millisecond})
			d.Served(Request{Token: token, Provider: "ollama", Model: "m", End: EndOK})
		}
		for range 2 * n {
			once(1)
		}
		for _, tokens := range []uint64{1, 1000} {
			b.Run(fmt.Sprintf("keys=%d/tokens=%d", n, tokens), func(b *testing.B) {
				b.ReportAllocs()
				for i := uint64(0); b.Loop(); i++ {
					once(i%tokens + 1)
				}
			})
			b.Run(fmt.Sprintf("keys=%d/tokens=%d/parallel", n, tokens), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := uint64(0); pb.Next(); i++ {
						once(i%tokens + 1)
					}
				})
			})
		}
	}
}
