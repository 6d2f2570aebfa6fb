package leases

import "time"

// Some keys may be used only while the control plane's word about them is fresh. Its word counts from when the node sent what
// was answered, as the lease does, and only once the node holds all that the control plane had to say: an answer in the midst
// of a full sync proves nothing about a key that the sync has not named yet.
//
// Nothing waits for the moment at which such a key goes stale. Whoever is about to use a key looks, as for everything else.

// stale says whether the last word is too old for the key.
func (of *leased) stale(b *Book, now time.Duration) bool {
	return of.maxStale != 0 && now >= time.Duration(b.lease.vouched.Load())+of.maxStale
}

// staleLimit answers for how long a key may be used; the node's clock may be slower than the control plane's.
func staleLimit(maxStale time.Duration) time.Duration {
	if maxStale <= 0 {
		return 0
	}
	return max(time.Duration(float64(maxStale)*safety), 1)
}

// brittle is the keys that go stale.
type brittle struct {
	keys  map[KeyID]*Key
	least time.Duration // none goes stale sooner
	swept time.Duration // the word for which those that went stale were taken out of the views; see outdate
}

func (s *brittle) note(k *Key, of *leased) {
	if of.maxStale == 0 {
		delete(s.keys, k.ID)
		return
	}
	if s.keys == nil {
		s.keys = map[KeyID]*Key{}
	}
	if len(s.keys) == 0 || of.maxStale < s.least {
		s.least = of.maxStale
	}
	s.keys[k.ID] = k
}

// vouchLocked takes the control plane's word that what is held is as it wants it, and puts back the keys that were stale.
func (b *Book) vouchLocked() {
	was := time.Duration(b.lease.vouched.Load())
	if b.full || b.renewed <= was {
		return
	}
	b.lease.vouched.Store(int64(b.renewed))
	now := b.now()
	if len(b.brittle.keys) == 0 || now < was+b.brittle.least {
		return
	}
	for _, k := range b.brittle.keys {
		if now >= was+k.lease.Load().maxStale {
			b.refreshLocked(k)
		}
	}
}

// outdate takes the keys that have gone stale out of the views, so that requests need not meet one after the other.
func (b *Book) outdate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, word := b.now(), time.Duration(b.lease.vouched.Load())
	if len(b.brittle.keys) == 0 || now < word+b.brittle.least {
		return
	}
	if b.brittle.swept == word {
		return
	}
	all := true
	for _, k := range b.brittle.keys {
		if k.lease.Load().stale(b, now) {
			b.refreshLocked(k)
		} else {
			all = false
		}
	}
	if all {
		b.brittle.swept = word
	}
}
