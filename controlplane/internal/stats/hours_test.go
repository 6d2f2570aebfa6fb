package stats

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHoursRollOver(t *testing.T) {
	f := newFixture(t)
	for h := range 60 { // one attempt with key 1 and one request with token 1 in each hour; key 2 only in the first
		f.now = noon.Add(time.Duration(h) * time.Hour)
		used := keys(1)
		if h == 0 {
			used = keys(1, 2)
		}
		f.Submit(report(uint64(h+1), f.now, used, 1))
		f.commitNow()
		if h%7 == 0 {
			f.checkpointNow()
		}
		want := min(h+1, 48)
		if got := f.KeyHours(1, f.now); len(got) != want || !got[want-1].Hour.Equal(f.now) {
			t.Fatalf("hour %d: got %d hours of the key, want %d", h, len(got), want)
		}
		if got := f.Hours("p", f.now); len(got) != want || got[0].Requests.Total() != 1 {
			t.Fatalf("hour %d: got %v, want %d hours", h, got, want)
		}
	}
	if got := f.KeyHours(2, f.now); len(got) != 0 {
		t.Errorf("got %v of a key that was not used for 48 hours", got)
	}
	if got := f.Key(1).Counts.Total(); got != 60 {
		t.Errorf("got %d attempts in all, want 60", got)
	}
	f.checkpointNow()
	f.reopen()
	if got := len(f.KeyHours(1, f.now)); got != 48 {
		t.Errorf("got %d hours after a restart, want 48", got)
	}
	byKind := map[byte]int{}
	for key := range f.store.totals {
		byKind[key[0]]++
	}
	if byKind[rowKeyHour] != 48 || byKind[rowProviderHour] != 48 || byKind[rowRequestHour] != 48 {
		t.Errorf("got %v rows by kind on disk, want 48 of each hour's", byKind)
	}
}

// A journal that is played back days later counts in the totals, but makes no hours that nobody can see.
func TestLateBatch(t *testing.T) {
	f := newFixture(t)
	f.Submit(report(1, noon.Add(-49*time.Hour), keys(1), 1))
	f.Submit(report(2, noon.Add(time.Hour), keys(1), 1)) // from the future: now
	f.commitNow()
	if got := f.Key(1); got.Counts.Total() != 2 || !got.LastUsed.Equal(noon) {
		t.Errorf("got %v, want 2 attempts, last used now", got)
	}
	if k, p := f.KeyHours(1, noon), f.Hours("", noon); len(k) != 1 || len(p) != 1 {
		t.Errorf("got %d hours of the key and %d in all, want 1 and 1", len(k), len(p))
	}
	f.checkpointNow()
	f.now = noon.Add(72 * time.Hour)
	f.reopen() // what is too old is not even loaded
	if n := len(f.table.key(1).hours) + len(f.table.provider("p").hours); n != 0 {
		t.Errorf("got %d bytes and entries of old hours loaded", n)
	}
}

// TestKeyHours compares the packed hours with a plain map.
func TestKeyHours(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var packed keyHours
		plain, newest := map[uint32][3]uint64{}, uint32(0)
		for range 200 {
			d := hourCell{hour: 490_000 + rng.Uint32N(100)}
			for i := range d.counts {
				d.counts[i] = rng.Uint64() >> rng.Uint32N(64)
			}
			packed.add(d)
			newest = max(newest, d.hour)
			c := plain[d.hour]
			add(c[:], d.counts[:])
			plain[d.hour] = c
			for h := range plain {
				if newest-h >= hoursKept {
					delete(plain, h)
				}
			}
		}
		got := slices.Collect(packed.all())
		if len(got) != len(plain) || !slices.IsSortedFunc(got, func(a, b hourCell) int { return int(b.hour) - int(a.hour) }) {
			t.Fatalf("seed %d: got %d hours, want %d, newest first", seed, len(got), len(plain))
		}
		for _, c := range got {
			if at, found := packed.at(c.hour); !found || at != c || plain[c.hour] != c.counts {
				t.Fatalf("seed %d, hour %d: got %v, want %v", seed, c.hour, c.counts, plain[c.hour])
			}
		}
		if _, found := packed.at(newest + 1); found {
			t.Fatalf("seed %d: found an hour that never was", seed)
		}
	}
}

func TestCounts(t *testing.T) {
	var a AttemptCounts
	for i := range a {
		a[i] = 1 << i
	}
	var r RequestCounts
	for i := range r {
		r[i] = 1 << i
	}
	for _, c := range []struct {
		what      string
		got, want uint64
	}{
		{"attempts without the milliseconds", a.Total(), 1<<12 - 1 + 1<<AttemptUnknown},
		{"attempts answered in full", a.Success(), 1},
		{"attempts failed: not client_error, canceled or forbidden", a.Failure(), 1<<12 - 1 - 1 - 1<<1 - 1<<8 - 1<<11},
		{"requests", r.Total(), 1<<7 - 1 + 1<<RequestUnknown},
		{"requests answered in full", r.Success(), 1},
		{"requests failed: not client_error or canceled", r.Failure(), 1<<2 | 1<<3 | 1<<4 | 1<<5},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %b, want %b", c.what, c.got, c.want)
		}
	}
}
